import { simulate, type SimulationResult } from "../../../lab/simulation/simulate";
import type { Sabotage } from "../../../lab/simulation/sabotage";

const told = ({ findings, story }: SimulationResult): string =>
  [...findings.map(({ code, text }) => `${code}: ${text}`), ...story.slice(-40).map(({ text }) => text)].join("\n");

test("a seed gives the same history every time", async () => {
  const first = await simulate({ seed: 5 });
  const second = await simulate({ seed: 5 });
  expect(first.story.length).toBeGreaterThan(20);
  expect(second).toEqual(first);
});

test("the global timers are the machine's own again after a run", async () => {
  const { setTimeout: before } = globalThis;
  const { random } = Math;
  await simulate({ seed: 5, plan: [] });
  expect(globalThis.setTimeout).toBe(before);
  expect(Math.random).toBe(random);
});

test("without faults the baker takes one tenure and is well", async () => {
  const { findings, counts, healedMs } = await simulate({ seed: 1, plan: [] });
  expect(findings).toEqual([]);
  expect(counts).toMatchObject({ tenures: 1, conflicts: 0 });
  expect(healedMs).not.toBeNull();
});

test("no seed makes two gates sign what conflicts or two daemons run, and a healed baker signs again", async () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  console.info(`SEED=${seed}`);
  for (let i = 0; i < 4; i++) {
    const result = await simulate({ seed: seed + i });
    if (result.findings.length > 0) throw new Error(`seed ${seed + i}\n${told(result)}`);
  }
});

const planted: [Sabotage, number, string][] = [
  ["no-wait-before-takeover", 1, "S4"],
  ["daemons-are-not-stopped", 3, "S4"],
  ["forwards-before-the-mark", 1, "forward-before-commit"],
  ["gate-writes-blindly", 7, "tenure-without-raise"],
];
test.each(planted)("with %s seed %i is judged as %s", async (sabotage, seed, code) => {
  const { findings } = await simulate({ seed, sabotage });
  expect(findings.map((finding) => finding.code)).toContain(code);
});
