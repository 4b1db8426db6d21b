/**
 * 10,000 schedules, about ten minutes. `SEED=n npx jest --config jest.heavy.config.js schedules.soak` begins at that
 * seed.
 */
import { describe as explain } from "../../../lab/checker/schedules/describe";
import { runSchedule } from "../../../lab/checker/schedules/run-schedule";

const seed = process.env.SEED === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(process.env.SEED);

test("10,000 schedules without a violation", async () => {
  console.info(`SEED=${seed}`);
  for (let i = 0; i < 10_000; i++) {
    const result = await runSchedule({ seed: seed + i, strong: i % 2 === 0 });
    if (result.violations.length > 0 || result.stuck !== "") throw new Error(explain(result));
  }
}, 3_600_000);
