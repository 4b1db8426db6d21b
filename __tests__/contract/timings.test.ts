/** Every timing has bounds, in the schema that the configuration and the start of each daemon share. */
import { defaultTimings, timingBounds, timingsSchema, type Timings } from "../../contract/timings";
import { parseConfig } from "../../daemons/runtime/config";
import { solidBakerFile } from "../helpers/baker-file";

const names = Object.keys(defaultTimings) as (keyof Timings)[];

test.each(names)("%s has a lower and an upper bound around its default", (name) => {
  const { least, most } = timingBounds(name);
  expect(least).toBeGreaterThan(0);
  expect(least).toBeLessThan(defaultTimings[name]);
  expect(most).toBeGreaterThanOrEqual(defaultTimings[name]);
  for (const value of [least / 2, most + 1, 0, -1, Infinity, NaN])
    expect(
      timingsSchema.safeParse({ ...defaultTimings, [name]: value }).error?.issues.map(({ path }) => path[0]),
    ).toContain(name);
});

test("no head counts as fresh for longer than the 60 s of S5 and S6", () => {
  expect(timingBounds("headFreshSeconds").most).toBe(60);
});

test.each([600, 1_000_000, 0.1])("a daemon does not start with a head that is fresh for %s s", (headFreshSeconds) => {
  const file = { ...solidBakerFile(), timings: { ...defaultTimings, headFreshSeconds } };
  const { errors } = parseConfig({ TOG_CONFIG_FILE: "/baker.json" }, () => JSON.stringify(file));
  expect(errors.filter((error) => error.includes("timings.headFreshSeconds"))).toHaveLength(1);
});
