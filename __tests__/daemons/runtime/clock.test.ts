import { afterBeat, untilAfterBeat, untilBeat } from "../../../daemons/runtime/clock";

const clock = { now: () => 0, nowNs: () => 0n, wall: () => 0 };
const at = (ms: number) => ({ ...clock, now: () => ms });

test("containers of one pod meet at the same beat, whenever they ask, and the next one is never nearer than half a period", () => {
  const beat = 10_000 + untilBeat(at(10_000), 1000, "10.0.0.1");
  for (let ms = 10_000; ms < 13_000; ms += 7) {
    const wait = untilBeat(at(ms), 1000, "10.0.0.1");
    expect((ms + wait - beat) % 1000).toBeCloseTo(0, 6);
    expect(wait).toBeGreaterThanOrEqual(500);
    expect(wait).toBeLessThan(1500);
  }
});

test("every second beat of a period is one of the double period; pods have beats of their own", () => {
  expect((5000 + untilBeat(at(5000), 2000, "10.0.0.1")) % 1000).toBeCloseTo(
    (5000 + untilBeat(at(5000), 1000, "10.0.0.1")) % 1000,
    6,
  );
  const next = (period: number, pod: string) => (5000 + untilBeat(at(5000), period, pod)) % 1000;
  expect(new Set(["10.0.0.1", "10.0.0.2", "10.0.0.3"].map((pod) => next(1000, pod).toFixed(3))).size).toBe(3);
});

test("what must not be late comes a little after a beat, within a period: at the latest at its second try", () => {
  const beat = 10_000 + untilBeat(at(10_000), 1000, "10.0.0.1");
  const phase = (ms: number) => (((ms - beat - afterBeat * 1000) % 1000) + 1000) % 1000;
  for (let start = 10_000; start < 11_000; start += 7) {
    const first = untilAfterBeat(at(start), 1000, "10.0.0.1");
    expect(first).toBeGreaterThan(0);
    expect(first).toBeLessThanOrEqual(1000);
    const second = start + first + untilAfterBeat(at(start + first), 1000, "10.0.0.1");
    // Whoever is a trifle early stays so: no second call on the heels of the first.
    expect(Math.min(phase(second), 1000 - phase(second))).toBeLessThanOrEqual(50);
    expect(second - start - first).toBeGreaterThanOrEqual(50);
  }
});
