import { Recent } from "../../../daemons/runtime/recent";

function at() {
  const time = { ms: 0 };
  const clock = { now: () => time.ms, nowNs: () => 0n, wall: () => Date.UTC(2026, 10, 25, 12) + time.ms };
  return { time, recent: new Recent(clock) };
}

test("what happened is told with its time, the newest of a kind with its number, oldest first", () => {
  const { time, recent } = at();
  recent.note("crash", "baker ended (1)");
  time.ms = 60_000;
  recent.note("api", "no answer");
  time.ms = 120_500;
  recent.note("crash", "baker ended (SIGKILL)");
  expect(recent.list()).toEqual([
    "2026-11-25T12:01:00Z no answer",
    "2026-11-25T12:02:00Z baker ended (SIGKILL) (2 times)",
  ]);
});

test("it is told for ten minutes, counts anew after that, and is bounded", () => {
  const { time, recent } = at();
  recent.note("crash", "once");
  time.ms = 600_000;
  expect(recent.list()).toHaveLength(1);
  time.ms = 600_001;
  expect(recent.list()).toEqual([]);
  recent.note("crash", "again");
  expect(recent.list()[0]).toMatch(/ again$/);
  for (let i = 0; i < 9; i++) recent.note(`kind ${i}`, `${i}`);
  expect(recent.list().map((text) => text.slice(-1))).toEqual(["4", "5", "6", "7", "8"]);
});
