/** What the statuses of the own pod mean for the election. Pure. */
import type { MemberRecord } from "../../contract/status";
import type { Statuses } from "./pod-status";

/** The newest status of each container, null where it does not answer. */
export interface PodFacts extends Pick<Statuses, "sidecar" | "supervisor" | "gate"> {
  /** False only until the first exchange of nonces after the start of the pod. */
  reconciled: boolean;
}

/**
 * Why the gate cannot open a key although another pod's may: its own disk, its own process. The other reasons lie in
 * the shared watermark, which no handover mends: two pods would only hand the lease to and fro.
 */
const ownFaults = new Set(["memory-write", "internal"]);

/**
 * Eligible = node ready, daemon not crash-looping, client folder writable, a signer answers, no key kept shut by this
 * pod; and, once after a start, nonces exchanged.
 */
export function eligibility(facts: PodFacts): { eligible: boolean; reason: string } {
  const no = (reason: string) => ({ eligible: false, reason });
  if (!facts.sidecar) return no("sidecar-silent");
  if (!facts.sidecar.ready) return no("node-not-ready");
  if (!facts.supervisor) return no("supervisor-silent");
  if (facts.supervisor.crashLooping) return no("daemon-crash-looping");
  if (facts.supervisor.clientFolderProblem) return no("client-folder-not-written");
  if (!facts.gate) return no("gate-silent");
  if (facts.gate.signersAnswering < 1) return no("no-signer-answers");
  // In standby, too, where no key is open: whoever takes over with a full disk signs nothing.
  if (facts.gate.memoryProblem) return no("gate-memory-not-written");
  const shut = facts.gate.keys.find(({ state, reason }) => state === "refused" && ownFaults.has(reason));
  if (shut) return no(`key-refused-${shut.reason}`);
  if (!facts.reconciled) return no("nonces-not-reconciled");
  return { eligible: true, reason: "eligible" };
}

/** Part of a disk. An alert comes long before (80 %): here it is what keeps files from being written. */
const nearlyFull = 0.97;

/** What the exposer says after a release where all went well. */
const wellPushed = new Set(["acknowledged", "no-other-member"]);

/**
 * What the containers complain of, for whoever asks why: the member record carries it. Bounded by the numbers of keys,
 * signers, daemons and members.
 */
export function troubles(facts: Statuses): string[] {
  const { sidecar, supervisor, gate, exposer, importer } = facts;
  const silent = Object.entries({
    ...{
      sidecar,
      "baker-supervisor": supervisor,
      "signing-gate": gate,
      "nonce-exposer": exposer,
      "nonce-importer": importer,
    },
  });
  return [
    ...silent.filter(([, status]) => status === null).map(([name]) => `${name} does not answer`),
    ...(sidecar && !sidecar.ready ? [`node: ${sidecar.reason}`] : []),
    ...(sidecar?.dal && !sidecar.dal.well ? [`DAL node: ${sidecar.dal.reason}`] : []),
    ...((supervisor?.diskUsedRatio ?? 0) >= nearlyFull
      ? [`disk: ${Math.round(100 * (supervisor?.diskUsedRatio ?? 0))} % used`]
      : []),
    ...(supervisor?.clientFolderProblem
      ? [`client folder: no file can be written (${supervisor.clientFolderProblem})`]
      : []),
    ...(supervisor?.keysLeftOut ?? []).map(
      (address) => `octez-baker runs without ${address}: no signer has shown its public key`,
    ),
    ...(supervisor?.daemons ?? [])
      .filter((daemon) => daemon.state === "backoff")
      .map((daemon) => `${daemon.name} ended (${daemon.lastExit ?? "?"}) and is restarted`),
    ...(gate?.keys ?? [])
      .filter((key) => key.state === "lost" || key.state === "refused")
      .map((key) => `key ${key.address} is ${key.state}: ${key.reason}`),
    // Where no signer answers at all the pod is not eligible, and that says it.
    ...(gate?.keys ?? [])
      .filter((key) => gate?.signersAnswering && (key.signers ?? 0) > 0 && key.signersAnswering === 0)
      .map((key) => `no signer that holds ${key.address} answers`),
    ...(gate?.signers ?? [])
      .filter((signer) => signer.reason !== "")
      .map((signer) => `signer ${signer.name}${signer.zone ? ` through ${signer.zone}` : ""}: ${signer.reason}`),
    ...(exposer?.peers ?? []).filter((peer) => !peer.connected).map((peer) => `nonces: ${peer.pod} is not connected`),
    ...[exposer?.reason, importer?.reason]
      .filter((reason) => reason && !wellPushed.has(reason))
      .map((reason) => `nonces: ${reason}`),
  ].map((text) => text.slice(0, 300));
}

/**
 * What the containers and the elector itself saw in the last ten minutes and is over: the newest eight, oldest first.
 */
export function recents(facts: Omit<Statuses, "gate">, own: readonly string[]): string[] {
  const { sidecar, supervisor, exposer, importer } = facts;
  // Each begins with its time.
  return [...own, ...[sidecar, supervisor, exposer, importer].flatMap((status) => status?.recent ?? [])]
    .sort()
    .slice(-8)
    .map((text) => text.slice(0, 300));
}

/** The record of this pod in its member lease; `own` is what the elector adds to what the containers say. */
export function memberRecord(
  statuses: Statuses,
  own: Pick<MemberRecord, "identity" | "address" | "zone" | "state" | "headLevel" | "eligible" | "pausedSeconds"> & {
    yielding: boolean;
    reconciled: boolean;
    recent: readonly string[];
    troubles: readonly string[];
  },
): MemberRecord {
  const { sidecar, supervisor, gate, exposer } = statuses;
  const { yielding, reconciled, recent, troubles: others, ...known } = own;
  const running = supervisor?.running ? "running" : "stopped";
  return {
    ...known,
    ready: sidecar?.ready ?? false,
    eligible: own.eligible && !yielding,
    reason: yielding ? "yielding" : eligibility({ sidecar, supervisor, gate, reconciled }).reason,
    headTimestamp: sidecar?.head?.timestamp ?? null,
    noncesMissing: exposer?.missing ?? 0,
    daemons: !supervisor ? "unknown" : supervisor.crashLooping ? "crash-looping" : running,
    signersAnswering: gate?.signersAnswering ?? 0,
    keys: gate?.keys.map(({ address, state, reason, signers }) => ({ address, state, reason, signers })) ?? [],
    troubles: [...others, ...troubles(statuses)],
    dal: sidecar?.dal,
    protocols: sidecar?.protocols,
    missedSlots: sidecar?.missedSlots,
    recent: recents(statuses, recent),
  };
}
