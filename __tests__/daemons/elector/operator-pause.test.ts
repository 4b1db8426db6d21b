import { readPause, writePause } from "../../../contract/handover-pause";
import { OperatorPause } from "../../../daemons/elector/operator-pause";

const wall = Date.UTC(2026, 10, 28);
const [hour, day] = [3_600_000, 86_400_000];
const ignored: string[] = [];
let changes = 0;
const fresh = () => {
  [ignored.length, changes] = [0, 0];
  return new OperatorPause({ ignored: (why) => void ignored.push(why), changed: () => void changes++ });
};
const until = (ms: number) => writePause({ untilMs: wall + ms, reason: "disk" });

test("a pause lasts as long as it was written for, whatever this pod's wall clock does meanwhile", () => {
  const pause = fresh();
  pause.see(until(hour), { now: 5000, wall });
  expect(pause.untilMs).toBe(5000 + hour);
  pause.see(until(hour), { now: 6000, wall: wall + day });
  expect(pause.untilMs).toBe(5000 + hour);
  expect(pause.isOver(until(hour))).toBe(false);
  pause.see(until(hour), { now: 5000 + hour, wall });
  expect(pause.untilMs).toBeNull();
  expect([pause.isOver(until(hour)), pause.isOver(until(2 * hour))]).toEqual([true, false]);
  expect([changes, ignored]).toEqual([2, []]);
});

test("a pause is ended by its removal, and a later one takes its place", () => {
  const pause = fresh();
  pause.see(until(hour), { now: 0, wall });
  pause.see(until(2 * hour), { now: 10, wall });
  expect(pause.untilMs).toBe(10 + 2 * hour);
  pause.see("", { now: 20, wall });
  expect(pause.untilMs).toBeNull();
});

test("a pause of a day is one although the clock that it was written by is a little ahead", () => {
  const pause = fresh();
  pause.see(until(day + 200_000), { now: 0, wall });
  expect(pause.untilMs).toBe(day);
});

test.each([
  [until(2 * day), "until (2026-11-30T00:00:00.000Z) must be 0 to 24 h after this pod's clock (2026-11-28T00:00"],
  [until(-1), "must be 0 to 24 h after"],
  ["{", "got {; write it with npm run baker -- pause --for 2h"],
  ['{"until":"soon","reason":""}', 'must be {"until": ISO 8601'],
])("%s pauses nothing, and is told with what to write instead", (text, why) => {
  const pause = fresh();
  for (const now of [0, 10]) pause.see(text, { now, wall });
  expect(pause.untilMs).toBeNull();
  expect(pause.isOver(text)).toBe(true);
  expect(ignored).toEqual([expect.stringContaining(why)]);
});

test("a reason of any length becomes a short one", () => {
  expect(readPause(writePause({ untilMs: wall, reason: "x".repeat(5000) }))?.reason).toHaveLength(200);
});
