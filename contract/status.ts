/** What each daemon answers on `GET /status`, and the record of a member lease. Consumers ignore unknown fields. */
import * as z from "zod/mini";

/** What happened in the last ten minutes and is over, oldest first, each with its time. For people. */
const recent = z.optional(z.array(z.string()));

const head = z.object({
  level: z.int(),
  round: z.nullable(z.int()),
  hash: z.string(),
  timestamp: z.string(),
  ageSeconds: z.number(),
});

export const missedKinds = ["attestation", "block"] as const;
export const whoseSlots = ["ours", "producer", "unknown"] as const;
/** A slot of the delegate that is missing on the chain, as one sidecar judges it. For people. */
export const missedSlotSchema = z.object({
  kind: z.enum(missedKinds),
  level: z.int(),
  whose: z.enum(whoseSlots),
  /** A sentence's end. */
  why: z.string(),
  /** When the sidecar saw it, ISO 8601. */
  at: z.string(),
});
export type MissedSlot = z.infer<typeof missedSlotSchema>;
/** Slots that a sidecar remembers: a bad quarter of an hour's, and some kilobytes in the member's lease. */
export const mostMissedSlots = 20;
/** The last ones, oldest first. */
const missedSlots = z.optional(z.array(missedSlotSchema));

/** The pod's DAL node, and what the delegate attested of the DAL in the running cycle by the chain's own account. */
export const dalStatusSchema = z.object({
  well: z.boolean(),
  /** "" where it is well, else `code: explanation`. */
  reason: z.string(),
  /** Its own word: up, degraded, down; null where it does not answer. */
  health: z.nullable(z.string()),
  peers: z.nullable(z.int()),
  /** Final levels that it has not processed. */
  levelsBehind: z.nullable(z.int()),
  /** How often it ended a stream like octez-baker's while this process watched: after that v25.1 attests no slot. */
  restarts: z.int(),
  attestedSlots: z.nullable(z.int()),
  attestableSlots: z.nullable(z.int()),
  /** Whether the delegate gets the DAL's rewards of this cycle, as of now. */
  sufficient: z.nullable(z.boolean()),
});
export type DalStatus = z.infer<typeof dalStatusSchema>;

/** The chain's voting periods, in their order; the last block of an adoption activates what was voted for. */
export const votingPeriods = ["proposal", "exploration", "cooldown", "promotion", "adoption"] as const;
const toldProtocol = z.object({
  hash: z.string(),
  /** Whether the program that says this has a row for it (tezos/protocols.ts). */
  known: z.boolean(),
});
/** The chain's protocols, as the pod's node told them lately. */
export const protocolsStatusSchema = z.object({
  running: toldProtocol,
  /** Of the block after the head. */
  next: toldProtocol,
  /** What the chain votes on; null where there is nothing, or the node does not tell. */
  proposal: z.nullable(
    z.extend(toldProtocol, {
      period: z.enum(votingPeriods),
      /** When it is activated at the earliest, ISO 8601; null where that is not known. */
      activatesAt: z.nullable(z.string()),
    }),
  ),
});
export type ProtocolsStatus = z.infer<typeof protocolsStatusSchema>;

export const sidecarStatusSchema = z.object({
  live: z.boolean(),
  liveReason: z.string(),
  ready: z.boolean(),
  reason: z.string(),
  connections: z.nullable(z.int()),
  head: z.nullable(head),
  chainId: z.nullable(z.string()),
  /** Octez' own word; informative, never used for readiness. */
  syncState: z.nullable(z.string()),
  /** Levels whose attestation the delegate missed while this process watched, by the chain's own account. */
  missedAttestations: z.optional(z.int()),
  missedSlots,
  /** Where the pod has a DAL node. */
  dal: z.optional(dalStatusSchema),
  /** Where the node has told them. */
  protocols: z.optional(protocolsStatusSchema),
  recent,
});
export type SidecarStatus = z.infer<typeof sidecarStatusSchema>;

export const daemonStates = ["stopped", "starting", "running", "backoff", "stopping"] as const;
export const supervisorStatusSchema = z.object({
  /** True while at least one child process exists. */
  running: z.boolean(),
  crashLooping: z.boolean(),
  /** The command that the supervisor acts on now: the elector releases only once it is "stop" and nothing runs. */
  obeys: z.optional(z.enum(["run", "stop"])),
  reason: z.string(),
  daemons: z.array(
    z.object({
      name: z.string(),
      state: z.enum(daemonStates),
      pid: z.nullable(z.int()),
      restarts: z.int(),
      lastExit: z.nullable(z.string()),
    }),
  ),
  /** Of the disk that holds the node's data and the client folder, 0..1; absent where it could not be read. */
  diskUsedRatio: z.optional(z.number()),
  /** Why no new file can be written into the client folder; absent where one can. */
  clientFolderProblem: z.optional(z.string()),
  /** Keys without which octez-baker runs, because no signer had shown their public keys when it started. */
  keysLeftOut: z.optional(z.array(z.string())),
  recent,
});
export type SupervisorStatus = z.infer<typeof supervisorStatusSchema>;

const askedSignature = z.object({
  kind: z.enum(["block", "attestation"]),
  level: z.int(),
  round: z.int(),
  /** Address of the key that was asked for. */
  key: z.string(),
  /** `signed`, `under-way`, or the reason of the refusal. */
  result: z.string(),
  /** When it was answered, milliseconds of CLOCK_MONOTONIC; 0 while it is under way. */
  atMs: z.number(),
});
export type AskedSignature = z.infer<typeof askedSignature>;

export const gateStatusSchema = z.object({
  /** True where requests of this tenure are being forwarded for at least one key. */
  open: z.boolean(),
  reason: z.string(),
  inFlight: z.int(),
  epoch: z.int(),
  keys: z.array(
    z.object({
      address: z.string(),
      /** closed: not master; raising; open; lost: S5; refused: another baker's or unreadable watermark. */
      state: z.enum(["closed", "raising", "open", "lost", "refused"]),
      reason: z.string(),
      floor: z.nullable(z.int()),
      /** Highest recorded level of any kind. */
      highestLevel: z.nullable(z.int()),
      lastAttestation: z.nullable(z.object({ level: z.int(), round: z.int() })),
      /** Number of signers that have shown the public key of this address. */
      signers: z.optional(z.int()),
      /** Number of these that answer. */
      signersAnswering: z.optional(z.int()),
      /** Level of the last attestation before this tenure opened the key; null where none is known. */
      attestedBefore: z.optional(z.nullable(z.int())),
    }),
  ),
  signers: z.array(
    z.object({ name: z.string(), zone: z.nullable(z.string()), answers: z.boolean(), reason: z.string() }),
  ),
  /** Number of signers (not endpoints) that answered the last health check. */
  signersAnswering: z.int(),
  /**
   * Why this gate could not write its own file of marks when it tried last, in standby too; null where it could. A gate
   * that cannot write it opens no key.
   */
  memoryProblem: z.optional(z.nullable(z.string())),
  /** Requests that the watermark has refused since the gate's start. */
  refusedByWatermark: z.optional(z.int().check(z.nonnegative())),
  /** Attestations that it was asked for since its start, whatever became of them; and what it did not understand. */
  attestationsAsked: z.optional(z.int().check(z.nonnegative())),
  /** The last signatures of blocks and attestations that it was asked for, oldest first. */
  asked: z.optional(z.array(askedSignature)),
  /** Since when it remembers them, milliseconds of CLOCK_MONOTONIC. */
  askedSinceMs: z.optional(z.number()),
  /**
   * Set where a watermark shows that this tenure is over; the elector then releases (higher epoch) or is lost (equal
   * epoch, other holder).
   */
  tenureLost: z.nullable(z.enum(["higher-epoch", "other-holder"])),
});
export type GateStatus = z.infer<typeof gateStatusSchema>;

export const nonceStatusSchema = z.object({
  /** Commitments that passed the gate on this pod's watch but are not yet local and on another member. */
  missing: z.int(),
  committed: z.int(),
  local: z.int(),
  replicated: z.int(),
  revealed: z.int(),
  /**
   * True after the first exchange in both directions since start (or where no peer could be reached for long: never
   * vetoes).
   */
  reconciled: z.boolean(),
  reason: z.string(),
  peers: z.array(z.object({ pod: z.string(), connected: z.boolean(), acknowledged: z.boolean(), reason: z.string() })),
  /** Exposer only: hash of the content that every connected peer has acknowledged, and of the content on disk. */
  finalPushed: z.boolean(),
  recent,
});
export type NonceStatus = z.infer<typeof nonceStatusSchema>;

/** In a member lease's annotation; renewed every memberRenewSeconds by the member's elector. */
export const memberRecordSchema = z.object({
  identity: z.string(),
  address: z.string(),
  zone: z.string(),
  ready: z.boolean(),
  eligible: z.boolean(),
  reason: z.string(),
  headLevel: z.nullable(z.int()),
  headTimestamp: z.nullable(z.string()),
  noncesMissing: z.int(),
  daemons: z.enum(["stopped", "running", "crash-looping", "unknown"]),
  signersAnswering: z.int(),
  state: z.string(),
  /** For how long an operator's pause of automatic handovers still lasts for this elector; 0 where there is none. */
  pausedSeconds: z.optional(z.number()),
  /** The gate's keys, where it answers. For people. */
  keys: z.optional(
    z.array(z.object({ address: z.string(), state: z.string(), reason: z.string(), signers: z.optional(z.int()) })),
  ),
  /** What the containers of this pod complain of, a sentence each; [] where all is well. For people. */
  troubles: z.optional(z.array(z.string())),
  /** Where the pod has a DAL node and its sidecar answers. */
  dal: z.optional(dalStatusSchema),
  /** Where its sidecar tells them. */
  protocols: z.optional(protocolsStatusSchema),
  missedSlots,
  recent,
});
export type MemberRecord = z.infer<typeof memberRecordSchema>;
