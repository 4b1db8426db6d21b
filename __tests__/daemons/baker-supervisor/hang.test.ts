import type { GateStatus, SidecarStatus } from "../../../contract/status";
import { HangWatch, toldBy, type Seen } from "../../../daemons/baker-supervisor/hang";

const timings = { retrySeconds: 1 };
const base: Seen = { pid: 7, epoch: 3, asked: 40, missed: 2, ranMs: 600_000 };
/** What the watch says of one moment after the other; each changes the one before. */
function verdicts(...moments: (Partial<Seen> | undefined)[]): string[] {
  const watch = new HangWatch();
  let now = base;
  return moments.map((changes) => {
    if (changes) now = { ...now, ...changes };
    return watch.see(changes && now, timings);
  });
}
const last = (...moments: (Partial<Seen> | undefined)[]) => verdicts(...moments).at(-1);

test("two missed levels without a question restart a daemon that has asked before", () => {
  expect(verdicts({}, { asked: 41 }, { missed: 3 }, { missed: 4 })).toEqual(["works", "asks", "works", "restart"]);
});
test("a daemon that asks does not hang, however much is missed", () => {
  expect(last({}, { asked: 41 }, { asked: 42, missed: 3 }, { asked: 43, missed: 9 })).toBe("asks");
});
test("levels without a right are not missed, and nothing is expected at them", () => {
  expect(last({}, { asked: 41 }, ...Array.from({ length: 50 }, () => ({})))).toBe("works");
});
test("nothing is expected while the gate is shut, nor in a new tenure for what the one before missed", () => {
  expect(last({}, { asked: 41 }, { missed: 3 }, undefined, { missed: 4 }, { missed: 5 })).toBe("works");
  expect(last({}, { asked: 41 }, { missed: 3 }, { epoch: 4, missed: 4 }, { missed: 5 })).toBe("works");
});
test("a gate or a sidecar that starts anew does not make the daemon hang", () => {
  expect(last({}, { asked: 41 }, { missed: 3 }, { asked: 0, missed: 4 }, { missed: 5 })).toBe("works");
  expect(last({}, { asked: 41 }, { missed: 3 }, { missed: 0 }, { missed: 1 })).toBe("works");
});

test("a daemon that has never asked may need half a minute for its start", () => {
  const young = [{ ranMs: 0 }, { ranMs: 12_000, missed: 4 }, { ranMs: 29_000, missed: 7 }];
  expect(verdicts(...young, { ranMs: 30_000 })).toEqual(["works", "works", "works", "restart"]);
});
test("a restart that does not help is said after ten seconds; the next one of another tenure gets its time again", () => {
  const hung = [{}, { asked: 41 }, { missed: 4 }];
  const next = [undefined, { pid: 8, ranMs: 1000 }, { missed: 6, ranMs: 9000 }, { ranMs: 10_000 }];
  expect(verdicts(...hung, ...next).slice(2)).toEqual(["restart", "works", "works", "works", "helpless"]);
  const later = [undefined, { pid: 8, epoch: 4, ranMs: 1000 }, { missed: 6, ranMs: 12_000 }];
  expect(last(...hung, ...later)).toBe("works");
});
test("a restart that does not help is said whenever the next levels are missed, and until another one is tried", () => {
  const hung = [{}, { asked: 41 }, { missed: 4 }];
  const rare = [
    { pid: 8, ranMs: 1000 },
    { missed: 5, ranMs: 20_000 },
    { missed: 6, ranMs: 44_000 },
  ];
  expect(verdicts(...hung, ...rare).slice(3)).toEqual(["works", "works", "helpless"]);
  const long = [
    { missed: 50, ranMs: 299_000 },
    { ranMs: 300_000 },
    { pid: 9, ranMs: 1000 },
    { missed: 52, ranMs: 9000 },
  ];
  expect(verdicts(...hung, ...rare, ...long, { ranMs: 10_000 }).slice(6)).toEqual([
    ...["helpless", "restart", "works", "works", "helpless"],
  ]);
});
test("one that SIGKILL does not end is restarted once, and helpless after five seconds", () => {
  const hung = [{}, { asked: 41 }, { missed: 4 }, { ranMs: 600_500 }, { missed: 5, ranMs: 604_900 }];
  expect(verdicts(...hung, { ranMs: 605_000 }).slice(2)).toEqual(["restart", "works", "works", "helpless"]);
});
test("a restart that helped is forgotten", () => {
  const helped = [{}, { asked: 41 }, { missed: 4 }, { pid: 8, ranMs: 1000 }, { asked: 42 }];
  expect(last(...helped, { pid: 9, ranMs: 1000 }, { missed: 7, ranMs: 12_000 })).toBe("works");
});

test("nothing is expected behind a gate that is shut, or that no signer answers", () => {
  const gate = { open: true, epoch: 3, signersAnswering: 1, attestationsAsked: 40 } as GateStatus;
  const sidecar = { missedAttestations: 2 } as SidecarStatus;
  expect(toldBy(gate, sidecar)).toEqual({ epoch: 3, asked: 40, missed: 2 });
  expect(toldBy({ ...gate, open: false }, sidecar)).toBeUndefined();
  expect(toldBy({ ...gate, signersAnswering: 0 }, sidecar)).toBeUndefined();
});
