import { decide, type GuardFacts } from "../../../daemons/topology-guard/decide";

const now = 100_000;
const solo: GuardFacts = {
  topology: "solo",
  pods: [{ name: "alice-as-0", phase: "gone" }],
  lease: { exists: false },
  leaseMs: 6000,
};
const held = { exists: true, holder: "alice-as-0_a", durationMs: 6000, changedAtMs: now - 5999 } as const;

test.each<[string, Partial<GuardFacts>, boolean, string]>([
  ["nothing of the other topology is left", {}, true, "other-topology-gone"],
  ["a pod runs", { pods: [{ name: "alice-as-1", phase: "Running" }] }, false, "other-topology-exists"],
  ["a pod is pending", { pods: [{ name: "alice-as-1", phase: "Pending" }] }, false, "other-topology-exists"],
  [
    "a pod's phase is unknown to the API",
    { pods: [{ name: "alice-as-1", phase: "Unknown" }] },
    false,
    "other-topology-exists",
  ],
  ["a pod without a phase", { pods: [{ name: "alice-as-1", phase: "" }] }, false, "other-topology-exists"],
  [
    "a finished pod does not count",
    { pods: [{ name: "alice-as-1", phase: "Succeeded" }] },
    true,
    "other-topology-gone",
  ],
  ["a failed pod does not count", { pods: [{ name: "alice-as-1", phase: "Failed" }] }, true, "other-topology-gone"],
  ["an unanswered question about a pod", { pods: [{ name: "alice-as-1", phase: null }] }, false, "pods-unknown"],
  ["an unanswered question about the lease", { lease: null }, false, "lease-unknown"],
  ["a held lease", { lease: held }, false, "lease-held"],
  ["a lease that has run out", { lease: { ...held, changedAtMs: now - 6000 } }, true, "other-topology-gone"],
  [
    "a lease with a longer duration",
    { lease: { ...held, durationMs: 15_000, changedAtMs: now - 6000 } },
    false,
    "lease-held",
  ],
  ["a lease with a shorter duration than ours", { lease: { ...held, durationMs: 1000 } }, false, "lease-held"],
  ["a released lease", { lease: { ...held, holder: "" } }, true, "other-topology-gone"],
  ["electors settle leases among themselves", { topology: "active-standby", lease: held }, true, "other-topology-gone"],
  [
    "electors wait for a solo pod, too",
    { topology: "active-standby", pods: [{ name: "alice-solo-0", phase: "Running" }] },
    false,
    "other-topology-exists",
  ],
])("%s", (_title, facts, ok, reason) => {
  expect(decide({ ...solo, ...facts }, now)).toMatchObject({ ok, reason });
});
