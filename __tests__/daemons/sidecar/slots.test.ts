import type { Leadership } from "../../../contract/leadership";
import type { GateStatus } from "../../../contract/status";
import { missedBetween } from "../../../daemons/runtime/missed-levels";
import { causeOf, type PodView } from "../../../daemons/sidecar/slots";

test("counts nothing at the start, then the growth of the chain's own account", () => {
  expect(missedBetween(undefined, { level: 10, missedLevels: 3 })).toBe(0);
  expect(missedBetween({ level: 10, missedLevels: 3 }, { level: 11, missedLevels: 5 })).toBe(2);
});
test("counts nothing twice for one head, and nothing for a head that went back", () => {
  expect(missedBetween({ level: 11, missedLevels: 3 }, { level: 11, missedLevels: 5 })).toBe(0);
  expect(missedBetween({ level: 11, missedLevels: 3 }, { level: 10, missedLevels: 5 })).toBe(0);
});
test("a new cycle starts its account at zero: what it holds is new", () => {
  expect(missedBetween({ level: 99, missedLevels: 7 }, { level: 100, missedLevels: 1 })).toBe(1);
});

const leadership = (changes: Partial<Leadership>): Leadership => ({
  holder: "alice-as-0",
  holderIdentity: "alice-as-0_u",
  self: "alice-as-0_u",
  leaseUid: "l",
  epoch: 4,
  state: "active",
  reason: "",
  validUntilNs: "1",
  gate: "open",
  daemons: "run",
  nonces: "follow",
  ...changes,
});
const gate = (signersAnswering: number): GateStatus => ({
  open: true,
  reason: "",
  inFlight: 0,
  epoch: 4,
  keys: [],
  signers: [],
  signersAnswering,
  refusedByWatermark: 0,
  tenureLost: null,
});
const view = (changes: Partial<PodView>): PodView => ({
  nodeReady: true,
  leadership: leadership({}),
  gate: gate(1),
  epochBefore: 4,
  refusedSince: 0,
  ...changes,
});

test.each<[string, Partial<PodView>, string]>([
  ["nobody holds", { leadership: leadership({ holder: "", holderIdentity: "" }) }, "handover"],
  ["the tenure is new", { epochBefore: 3 }, "handover"],
  ["the master hands over", { leadership: leadership({ state: "handing-over" }) }, "handover"],
  ["the node is not ready", { nodeReady: false }, "node"],
  ["no signer answers", { gate: gate(0) }, "signer"],
  ["the watermark refused", { refusedSince: 1 }, "refused"],
  ["all is well here", {}, "unknown"],
  [
    "another member is master",
    { leadership: leadership({ holderIdentity: "alice-as-1_u" }), nodeReady: false },
    "unknown",
  ],
  [
    "solo, node not ready",
    { leadership: undefined, gate: undefined, epochBefore: undefined, nodeReady: false },
    "node",
  ],
])("names the cause where %s", (_name, changes, cause) => expect(causeOf(view(changes))).toBe(cause));
