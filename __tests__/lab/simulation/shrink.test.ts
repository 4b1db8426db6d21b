import type { Fault } from "../../../lab/simulation/faults";
import { shrink } from "../../../lab/simulation/shrink";
import { simulate } from "../../../lab/simulation/simulate";
import { tell } from "../../../lab/simulation/tell";

test("a failing plan is shrunk to the fault that it needs, and its story is told", async () => {
  const plan: Fault[] = [
    { kind: "clock-jumps", pod: 0, atMs: 21_000, forMs: 1000 },
    { kind: "lease-deleted", pod: 0, atMs: 22_000, forMs: 0 },
    { kind: "watch-gone", pod: 1, atMs: 23_000, forMs: 0 },
  ];
  const options = { seed: 4, plan, sabotage: "daemons-are-not-stopped", healMs: 20_000 } as const;
  const least = await shrink(options, await simulate(options));
  expect(least.plan.map(({ kind }) => kind)).toEqual(["lease-deleted"]);
  expect(tell(least)).toMatch(
    /^Seed 4, 1 faults:\n +22\.0 s {2}somebody deletes the leader lease\n[^]*\nFound: S4: octez-baker runs in alice-as-0 and alice-as-1 at the same time\.$/,
  );
});
