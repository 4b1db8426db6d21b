import type { Leadership } from "../../../contract/leadership";
import { defaultTimings as t } from "../../../contract/timings";
import {
  afterCrash,
  decide,
  isCrashLooping,
  mayEnd,
  type SupervisorState,
} from "../../../daemons/baker-supervisor/decide";

const now = 50_000;
const self = "alice-as-0_a";
const ns = (ms: number) => String(BigInt(ms) * 1_000_000n);
const record = (fields: Partial<Leadership> = {}): Leadership => ({
  holder: "alice-as-0",
  holderIdentity: self,
  self,
  leaseUid: "u",
  epoch: 3,
  state: "active",
  reason: "holding",
  validUntilNs: ns(now + 4000),
  gate: "open",
  daemons: "run",
  nonces: "follow",
  ...fields,
});
const state = (fields: Partial<SupervisorState> = {}): SupervisorState => ({
  topology: "active-standby",
  self,
  record: record(),
  receivedAtMs: now - 100,
  soloReady: false,
  terminatingSinceMs: null,
  ...fields,
});

test.each<[string, SupervisorState, string, string]>([
  ["runs while leadership is valid", state(), "run", "active"],
  ["nothing runs without a record", state({ record: null }), "stop-now", "no-leadership"],
  [
    "nothing runs at the deadline",
    state({ record: record({ validUntilNs: ns(now) }) }),
    "stop-now",
    "validity-expired",
  ],
  [
    "a deadline that no renewal can give is none",
    state({ record: record({ validUntilNs: ns(now + 6000) }) }),
    "stop-now",
    "implausible-deadline",
  ],
  [
    "the elector of a twin is not obeyed",
    state({ record: record({ self: "alice-as-0_twin" }) }),
    "stop-now",
    "not-our-elector",
  ],
  [
    "another holder",
    state({ record: record({ holderIdentity: "alice-as-1_b", state: "standby" }) }),
    "stop-now",
    "standby",
  ],
  [
    "a twin that holds is another holder",
    state({ record: record({ holderIdentity: "alice-as-0_twin" }) }),
    "stop-now",
    "active",
  ],
  [
    "lost stops at once",
    state({ record: record({ state: "lost", daemons: "stop", validUntilNs: "0" }) }),
    "stop-now",
    "lost",
  ],
  ["lost stops at once whatever else it says", state({ record: record({ state: "lost" }) }), "stop-now", "lost"],
  ["a handover runs on while it waits", state({ record: record({ state: "handing-over" }) }), "run", "handing-over"],
  [
    "a handover stops by the grace",
    state({ record: record({ state: "handing-over", daemons: "stop" }) }),
    "stop-planned",
    "handing-over",
  ],
  [
    "a handover that outlives its lease stops at once",
    state({ record: record({ state: "handing-over", daemons: "stop", validUntilNs: ns(now) }) }),
    "stop-now",
    "validity-expired",
  ],
  ["SIGTERM waits for the handover", state({ terminatingSinceMs: now - 12_499 }), "run", "sigterm-awaits-handover"],
  ["SIGTERM does not wait for ever", state({ terminatingSinceMs: now - 12_500 }), "stop-planned", "sigterm"],
  [
    "SIGTERM keeps nothing alive beyond the deadline",
    state({ terminatingSinceMs: now, record: record({ validUntilNs: ns(now) }) }),
    "stop-now",
    "validity-expired",
  ],
  ["solo waits for its conditions", state({ topology: "solo", record: null }), "stop-planned", "solo-start-conditions"],
  ["solo runs without leadership", state({ topology: "solo", record: null, soloReady: true }), "run", "solo"],
  [
    "solo stops on SIGTERM",
    state({ topology: "solo", record: null, soloReady: true, terminatingSinceMs: now }),
    "stop-planned",
    "sigterm",
  ],
])("%s", (_title, given, command, reason) => {
  expect(decide(given, now, t)).toMatchObject({ command, reason });
});

test("it wakes at the deadline of the record", () => {
  expect(decide(state(), now, t).wakeAtMs).toBe(now + 4000);
});

test("after SIGTERM it stays while a handover goes on, to say that nothing runs", () => {
  const handing = state({ terminatingSinceMs: now, record: record({ state: "handing-over", daemons: "stop" }) });
  expect(mayEnd(handing, false, now, t)).toBe(false);
  expect(mayEnd({ ...handing, terminatingSinceMs: now - 17_500 }, false, now, t)).toBe(true);
  expect(mayEnd({ ...handing, record: record({ state: "standby", holderIdentity: "" }) }, false, now, t)).toBe(true);
  expect(mayEnd({ ...handing, record: null }, false, now, t)).toBe(true);
  expect(mayEnd({ ...handing, record: null }, true, now, t)).toBe(false);
  expect(mayEnd({ ...handing, record: null, terminatingSinceMs: null }, false, now, t)).toBe(false);
});

test("restarts come after 0.2 s, then ever later up to 30 s, and a long run ends the series", () => {
  let crashes = { failures: 0 };
  const pauses: number[] = [];
  for (let i = 0; i < 10; i++) {
    const next = afterCrash(crashes, 100, t);
    crashes = next;
    pauses.push(next.restartInMs);
  }
  expect(pauses).toEqual([200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]);
  expect(afterCrash(crashes, 30_000, t)).toEqual({ failures: 1, restartInMs: 200 });
});

test("three early crashes are a crash loop until it has run, or been left alone, long enough", () => {
  expect(isCrashLooping({ failures: 2 }, true, 0, t)).toBe(false);
  expect(isCrashLooping({ failures: 3 }, true, 29_999, t)).toBe(true);
  expect(isCrashLooping({ failures: 3 }, true, 30_000, t)).toBe(false);
  expect(isCrashLooping({ failures: 3 }, false, 299_999, t)).toBe(true);
  expect(isCrashLooping({ failures: 3 }, false, 300_000, t)).toBe(false);
  // A run that follows a loop which was forgotten has to fail by itself.
  expect(isCrashLooping({ failures: 4, forgotten: true }, true, 0, t)).toBe(false);
  expect(isCrashLooping({ failures: 5, forgotten: true }, false, 0, t)).toBe(true);
  // Each further failure doubles the time, up to ten hours.
  expect(isCrashLooping({ failures: 5 }, false, 1_199_999, t)).toBe(true);
  expect(isCrashLooping({ failures: 5 }, false, 1_200_000, t)).toBe(false);
  expect(isCrashLooping({ failures: 100 }, false, 38_400_000, t)).toBe(false);
});
