import { defaultTimings } from "../../../contract/timings";
import { describe as explain } from "../../../lab/checker/schedules/describe";
import { runSchedule } from "../../../lab/checker/schedules/run-schedule";
import type { Sabotage, ScheduleResult } from "../../../lab/checker/schedules/scene";

const seed = process.env.SEED === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(process.env.SEED);

const failures = (result: ScheduleResult) =>
  result.violations.length > 0 || result.stuck !== "" ? explain(result).slice(0, 4000) : "";

test.each([
  ["", false],
  ["of the strong adversary ", true],
])("no schedule %smakes two gates sign what conflicts, and a healed baker signs again", async (_whose, strong) => {
  console.info(`SEED=${seed}`);
  const total = { signed: 0, conflicts: 0, lostAnswers: 0, crashes: 0, stops: 0 };
  for (let i = 0; i < (process.env.SEED === undefined ? 25 : 1); i++) {
    const result = await runSchedule({ seed: seed + i, virtualSeconds: 50, strong });
    for (const name of Object.keys(total) as (keyof typeof total)[]) total[name] += result.counts[name];
    expect(failures(result)).toBe("");
    // Virtual milliseconds; the slowest disk needs 100 after the last mark.
    expect(result.slowestMs).toBeLessThanOrEqual(defaultTimings.gateBudgetMs + 250);
  }
  // The schedules are not idle.
  if (process.env.SEED === undefined) for (const count of Object.values(total)) expect(count).toBeGreaterThan(0);
});

test.each<[number, string, boolean?]>([
  [1001282, "a write that times out after the next tenure has begun says nothing of that tenure's mark"],
  [923078, "marks put back below the floor over none are not new marks"],
  [20261433, "a mark that was announced and never confirmed is not put back after the end of a machine"],
  [1955164006, "a tenure of an earlier epoch ends where a later watermark is taken away", true],
  [1327859661, "a watermark that the first request finds lost opens again some levels later", true],
  [91291585, "and so it does where those levels need more than one round", true],
])("seed %i holds: %s", async (found, _what, strong = false) => {
  expect(failures(await runSchedule({ seed: found, strong }))).toBe("");
});

test.each([false, true])("a seed gives the same history every time, strong adversary: %s", async (strong) => {
  const [first, second] = [
    await runSchedule({ seed: 7, virtualSeconds: 40, strong }),
    await runSchedule({ seed: 7, virtualSeconds: 40, strong }),
  ];
  expect(explain(first)).toBe(explain(second));
  expect(first.signed.length).toBeGreaterThan(0);
});

/** Each breaks one leg that the gate stands on; the checker must see it in some of the schedules. */
test.each<[Sabotage, string[]]>([
  ["blind-writes", ["mark-not-monotone", "mark-at-or-below-floor"]],
  ["phantom-writes", ["forward-before-commit"]],
  ["no-memory", ["opened-at-signed-level", "floor-not-monotone"]],
  ["random-signer", ["two-signatures-of-a-block"]],
  ["no-floor", ["mark-at-or-below-floor"]],
  ["no-sync", ["two-digests"]],
])("with %s the checker complains", async (sabotage, expected) => {
  const seen = new Set<string>();
  // Rare: a memory that is not proven starts above the head whatever the disk has lost.
  const first = sabotage === "no-sync" ? 290 : 1;
  for (let i = first; i < first + 60 && !expected.every((code) => seen.has(code)); i++)
    for (const violation of (
      await runSchedule({ seed: i, virtualSeconds: 60, sabotage, strong: sabotage === "no-sync" })
    ).violations)
      seen.add(violation.code);
  expect([...seen]).toEqual(expect.arrayContaining(expected));
});
