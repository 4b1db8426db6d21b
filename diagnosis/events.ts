/**
 * A sentence for each event that daemons and laboratory log, for people who have never seen the project. `{name}` is a
 * field of the entry, `{reason}` its reason.
 */
export interface LoggedEvent {
  /** The daemon, or the part of the laboratory. */
  source: string;
  event: string;
  reason: string;
  fields?: Readonly<Record<string, unknown>>;
}

/** By event, or by `source event` where the same name means something else. */
const sentences: Readonly<Record<string, string>> = {
  // Every daemon.
  started: "The {source} has started.",
  listening: "The {source} answers requests now.",
  stopping: "The {source} is told to stop: {reason}.",
  stopped: "The {source} has stopped: {reason}.",
  failed: "The {source} has failed: {reason}.",
  forced: "The {source} did not stop in time and is forced to: {reason}.",
  "configuration-changed": "The {source} has taken a changed configuration.",
  "configuration-rejected": "The {source} keeps its old configuration; the new one has an error: {reason}.",
  "configuration-watch": "The {source} cannot watch its configuration file: {reason}.",
  configuration: "The {source} cannot use its configuration: {reason}.",
  "kube-credentials": "The {source} cannot read its credentials for the Kubernetes API: {reason}.",
  "kube-event-dropped": "The {source} has dropped a Kubernetes Event, because too many wait: {reason}.",
  "kube-event-lost": "The {source} could not write a Kubernetes Event: {reason}.",
  "kube-watch": "The {source}'s watch of the Kubernetes API broke and is opened again: {reason}.",
  "api-failure": "A request to the Kubernetes API failed: {reason}.",
  output: "The {source} wrote: {reason}.",
  // Elector.
  acquired: "This pod has acquired the lease and is master of epoch {epoch} ({reason}).",
  released: "This pod has given the lease back: {reason}.",
  "lease released": "Nobody holds the lease now.",
  "lease held": "{pod} holds the lease: {reason}.",
  "not-released": "The lease could not be given back: {reason}.",
  "lease-created": "The lease has been made.",
  conflict: "Somebody else wrote the lease at the same time: {reason}.",
  decision: "The elector has decided: {reason}.",
  eligible: "This pod could be master now.",
  "not-eligible": "This pod cannot be master now: {reason}.",
  holder: "The elector sees {holder} as the holder: {reason}.",
  "handover-step": "The planned handover goes on: {reason}.",
  state: "The elector goes from {from} to {to}: {reason}.",
  "member-not-written": "The pod's member record could not be written: {reason}.",
  "handover-pause-ignored": "An operator's pause of automatic handovers is ignored: {reason}.",
  "rights-unknown": "The node did not tell the baking rights: {reason}.",
  "missed-levels-unknown": "The missed levels of a takeover could not be counted: {reason}.",
  "leadership-stream": "The connection to the elector changed: {reason}.",
  // Baker-supervisor.
  command: "The supervisor is told to {command}: {reason}.",
  "daemon-starting": "The supervisor starts {program}.",
  "daemon-stopping": "The supervisor stops {program}: {reason}.",
  "daemon-stopped": "{program} has ended ({exit}).",
  "daemon-killed": "The supervisor has killed {program}: {reason}.",
  "daemon-cannot-start": "The baking program does not start on this pod: {reason}.",
  "daemon-crashed": "{program} has ended by itself: {reason}.",
  "daemons-restarted": "The supervisor starts the baking programs anew: {reason}.",
  "daemon-hangs": "{program} lives but asks for no signature, and a restart did not help.",
  "client-folder-not-written": "No file can be written into the client folder: {reason}.",
  "daemons-kept": "The supervisor keeps its baking daemons: {detail}.",
  "keys-left-out": "octez-baker starts without {addresses}: {reason}.",
  "prepare-failed": "The supervisor could not prepare the baking daemons: {reason}.",
  quarantined: "A broken file was moved aside: {reason}.",
  "solo-start": "The baker without a standby may start: {reason}.",
  "solo-end": "The baker without a standby has ended: {reason}.",
  "solo-wait": "The baker without a standby waits before it starts: {reason}.",
  // Signing-gate.
  signed: "The gate let be signed: {kind} of level {blockLevel}.",
  refused: "A signature was refused: {reason}.",
  watermark: "The watermark of the key: {reason} ({state} {detail}).",
  "watermark-missing": "The watermark of the key is gone: {reason}.",
  "watermark-not-understood": "The watermark of the key cannot be read: {reason}.",
  "watermark-epoch-absurd": "The watermark has an epoch that cannot be: {reason}.",
  "mark-failed": "A watermark could not be written, so nothing was signed: {reason}.",
  "raise-failed": "The watermark could not be raised to this tenure: {reason}.",
  "tenure-lost": "The gate has seen that this tenure is over: {reason}.",
  signer: "A signer: {reason}.",
  "signer-health": "Signer {signer}: {reason}.",
  "signer-key": "A signer and a key: {reason}.",
  signers: "The gate has read its list of signers.",
  "signers-kept": "The gate keeps its list of signers.",
  "memory-unreadable": "What the gate remembers on disk cannot be read: {reason}.",
  "memory-write": "The gate could not write to its disk: {reason}.",
  "commitment-not-recorded": "A nonce commitment could not be recorded: {reason}.",
  "commitments-unreadable": "The recorded nonce commitments cannot be read: {reason}.",
  // Nonces.
  "nonce-overwritten": "octez-baker had overwritten the nonce {hash} at its start; it is merged again.",
  "dal-not-well": "The pod's DAL node is not well: {reason}.",
  "dal-well": "The pod's DAL node is well again.",
  "dal-stream-ended": "The DAL node ended a stream, as it does when it ends: {reason}.",
  "dal-slots-missed": "Slots of the DAL were not attested: {reason}.",
  "nonce-peer": "Nonce exchange: {reason}.",
  "nonce-peer-refused": "The nonces of another pod were not taken: {reason}.",
  "nonce-connection-refused": "A connection for nonces was refused: {reason}.",
  "nonce-file-broken": "The nonce file cannot be read: {reason}.",
  "nonce-file-whole": "The nonce file can be read again.",
  "nonce-file-lost": "The nonce file is gone: {reason}.",
  "nonce-file-quarantined": "A broken nonce file was moved aside: {reason}.",
  "nonce-copy-broken": "The copy of another pod's nonces cannot be read: {reason}.",
  "nonce-lock-held-long": "Another program has held the lock of the nonce file for long: {reason}.",
  "nonce-unreplicated": "A nonce is {reason} yet.",
  "nonce-watch": "The nonce folder cannot be watched: {reason}.",
  "nonces-unacknowledged": "Nonces wait: {reason}.",
  "nonces-imported": "Nonces of {reason} were taken over.",
  "nonces-reconciled": "The pods have exchanged their nonces: {reason}.",
  "nonces-not-reconciled": "The pods have not exchanged their nonces yet: {reason}.",
  // Sidecar.
  "node-live": "The node answers.",
  "node-not-live": "The node does not answer: {reason}.",
  "node-ready": "The node follows the chain.",
  "node-not-ready": "The node does not follow the chain: {reason}.",
  "protocol-unknown": "The chain has or votes on a protocol that this version does not know: {reason}.",
  "attestation-missed": "An attestation of ours is missing on the chain: {reason}.",
  "block-missed": "A block of ours is missing on the chain: {reason}.",
  // Init containers and jobs.
  written: "The test key has been written.",
  "topology-guard waiting": "The pod waits until the pods of the other topology are gone: {reason}.",
  "topology-guard done": "The pods of the other topology are gone: {reason}.",
  imported: "The snapshot has been imported: {reason}.",
  unfinished: "{reason}.",
  // Laboratory: chain, pods, processes, doubles.
  "chain attestation-missed": "Our attestation of {reason} is missing on the chain.",
  "chain block-missed": "Our block of {reason} is missing on the chain.",
  "pod-created": "The pod is there: {reason}.",
  "pod-gone": "The pod is gone.",
  unschedulable: "There is no machine for the pod.",
  "container-started": "A container has started: {reason}.",
  "container-exited": "A container has ended: {reason}.",
  "container-unhealthy": "A container does not answer its probe: {reason}.",
  "container-backoff": "A container ended again and waits before its next start: {reason}.",
  "process-started": "{source} runs ({reason}).",
  "process-ended": "{source} has ended ({reason}).",
  ready: "{source} is ready.",
  ended: "{source} has ended: {reason}.",
  api: "The laboratory could not tell the API of the pod: {reason}.",
  "not-injected": "The node did not take an operation: {reason}.",
  error: "{source} reports an error: {reason}.",
  committed: "{source} has committed to a nonce in the block of level {reason}.",
  revealed: "{source} has revealed a nonce: {reason}.",
  "not-revealed": "A nonce could not be revealed: {reason}.",
  "below-highwatermark": "The signer refused what lies below its own high watermark: {reason}.",
};

export const eventTemplate = (source: string, event: string): string | undefined =>
  sentences[`${source} ${event}`] ?? sentences[event];

/** Undefined where nobody has written one. */
export function eventSentence(entry: LoggedEvent & { pod?: string }): string | undefined {
  const { source, event, reason, fields = {} } = entry;
  if (source === "fault") return event.endsWith("-ended") ? `The fault is over: ${reason}.` : `Fault: ${reason}.`;
  const sentence = eventTemplate(source, event);
  const values: Record<string, unknown> = { ...fields, source, reason, pod: entry.pod };
  return sentence
    ?.replace(/\{(\w+)\}/g, (_, name: string) => String(values[name] ?? ""))
    .replace(/ ?\(\s*\)/g, "")
    .replace(/ +([).])/g, "$1")
    .replace(/:\s*\./g, ".");
}
