import type { Fault } from "../../../lab/simulation/faults";
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

/** The same ones in every run; `npm run simulate` draws others. */
const seeds = process.env.SEED ? [Number(process.env.SEED)] : [11, 12];
test.each(seeds)(
  "with the faults of seed %i no two gates sign what conflicts, no two daemons run, and the healed baker signs again",
  async (seed) => {
    const result = await simulate({ seed });
    if (result.findings.length > 0) throw new Error(`seed ${seed}\n${told(result)}`);
  },
);

test.each(["baking", "other"] as const)("a fault may be about the pod that is %s at that moment", async (pod) => {
  const { story, counts } = await simulate({
    seed: 3,
    plan: [{ kind: "machine-ends", pod, atMs: 40_000, forMs: 5000 }],
  });
  expect(story.map(({ text }) => text).join("\n")).toMatch(/FAULT the machine of alice-as-[01] loses its power/);
  expect(counts.tenures).toBe(pod === "baking" ? 2 : 1);
});

test("a pod whose machine has no power when it would start first starts once, when the power is back", async () => {
  const plan: Fault[] = [0, 1].map((pod) => ({ kind: "machine-ends", pod, atMs: 0, forMs: 10_000 }));
  const { story } = await simulate({ seed: 3, plan });
  const starts = story.filter(({ text }) => / starts as u/.test(text));
  expect(starts.map(({ text }) => text)).toEqual(["alice-as-0 starts as u1", "alice-as-1 starts as u1"]);
  expect(starts[0]?.atMs).toBeGreaterThanOrEqual(10_000);
});

test("an exception in a run names its seed", async () => {
  const plan: Fault[] = [{ kind: "watch-gone", pod: 7, atMs: 1000, forMs: 0 }];
  await expect(simulate({ seed: 3, plan })).rejects.toThrow("seed 3: Error: no such pod: 7");
});

const planted: [Sabotage, number, string][] = [
  ["no-wait-before-takeover", 1, "S4"],
  ["daemons-are-not-stopped", 1, "S4"],
  ["forwards-before-the-mark", 1, "forward-before-commit"],
  ["gate-writes-blindly", 7, "tenure-without-raise"],
];
test.each(planted)("with %s seed %i is judged as %s", async (sabotage, seed, code) => {
  const { findings } = await simulate({ seed, sabotage });
  expect(findings.map((finding) => finding.code)).toContain(code);
});
