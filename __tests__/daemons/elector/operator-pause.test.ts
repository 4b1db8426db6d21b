import { readPause, writePause } from "../../../contract/handover-pause";
import { OperatorPause } from "../../../daemons/elector/operator-pause";

const wall = Date.UTC(2026, 10, 28);
const [hour, day] = [3_600_000, 86_400_000];
const until = (ms: number) => writePause({ untilMs: wall + ms, reason: "disk" });

test("a pause lasts as long as it was written for, whatever this pod's wall clock does meanwhile", () => {
  const pause = new OperatorPause();
  pause.see(until(hour), { now: 5000, wall });
  expect(pause.untilMs).toBe(5000 + hour);
  pause.see(until(hour), { now: 6000, wall: wall + day });
  expect(pause.untilMs).toBe(5000 + hour);
  pause.see(until(hour), { now: 5000 + hour, wall });
  expect(pause.untilMs).toBeNull();
});

test("a pause is ended by its removal, and a later one takes its place", () => {
  const pause = new OperatorPause();
  pause.see(until(hour), { now: 0, wall });
  pause.see(until(2 * hour), { now: 10, wall });
  expect(pause.untilMs).toBe(10 + 2 * hour);
  pause.see("", { now: 20, wall });
  expect(pause.untilMs).toBeNull();
});

test("no clock makes a pause longer than a day, and one that is over or cannot be read pauses nothing", () => {
  for (const [text, expected] of [
    [until(1000 * day), day],
    [until(-1), null],
    ["{", null],
    ['{"until":"soon","reason":""}', null],
  ] as const) {
    const pause = new OperatorPause();
    pause.see(text, { now: 0, wall });
    expect(pause.untilMs).toBe(expected);
  }
});

test("a reason of any length becomes a short one", () => {
  expect(readPause(writePause({ untilMs: wall, reason: "x".repeat(5000) }))?.reason).toHaveLength(200);
});
