import { runOurs, runPredecessors } from "../../helpers/nonce-cycles";

test("through switchovers at the worst moments every commitment is revealed exactly once, where the two-minute copy loses some", async () => {
  const predecessor = await runPredecessors(1);
  const ours = await runOurs(30);
  process.stdout.write(
    `three cycles: ours ${JSON.stringify(ours)}\nthree cycles: two-minute copy ${JSON.stringify(predecessor)}\n`,
  );
  expect(ours).toEqual({ commitments: 18, revealedOnce: 18, revealedTwice: 0, lost: 0, switchovers: 8 });
  expect(predecessor.lost).toBeGreaterThan(0);
});
