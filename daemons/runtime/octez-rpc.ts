/**
 * The RPC of the pod's own octez-node, as far as we ask it. Every answer is checked: a node that lies in form is
 * `malformed`, never believed; whether it lies in content (time, chain) is for the caller to judge. Every request has a
 * deadline and a bounded answer.
 */
import { Agent, request, type ClientRequest } from "node:http";
import * as z from "zod/mini";
import { votingPeriods } from "../../contract/status";
import { backoffMs, sleep, type Clock } from "./clock";
import { exchange, followObjects } from "./http-client";

const blockHash = z.string().check(z.regex(/^B[1-9A-HJ-NP-Za-km-z]{50}$/));
const level = z.int().check(z.nonnegative(), z.maximum(0x7fffffff));
const count = z.int().check(z.nonnegative());
const several = z.int().check(z.positive());
const timestamp = z.string().check(z.regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/));
const seconds = z.union([
  z.pipe(
    z.string().check(z.regex(/^\d+$/)),
    z.transform((text) => Number(text)),
  ),
  count,
]);
const chainId = z.string().check(z.regex(/^Net[1-9A-HJ-NP-Za-km-z]{12}$/));

const headSchema = z
  .pipe(
    z.object({
      hash: blockHash,
      level,
      predecessor: blockHash,
      timestamp,
      proto: z.int(),
      fitness: z.array(z.string()),
    }),
    z.transform(({ fitness, ...head }) => ({
      ...head,
      /** Milliseconds since 1970. */
      timestampMs: Date.parse(head.timestamp),
      round: roundOf(fitness),
    })),
  )
  .check(z.refine((head) => Number.isFinite(head.timestampMs), { error: "timestamp is no time" }));
/** A block as the node reports it; `round` is null before Tenderbake. `timestamp` "YYYY-MM-DDThh:mm:ssZ". */
export type Head = z.infer<typeof headSchema>;

const headerSchema = z.pipe(
  z.intersection(headSchema, z.object({ chain_id: z.string() })),
  z.transform(({ chain_id, ...head }) => ({ ...head, chainId: chain_id })),
);
export type Header = z.infer<typeof headerSchema>;

const bootstrappedSchema = z.pipe(
  z.object({ bootstrapped: z.boolean(), sync_state: z.enum(["synced", "unsynced", "stuck"]) }),
  z.transform(({ bootstrapped, sync_state }) => ({ bootstrapped, syncState: sync_state })),
);
const connectionsSchema = z.pipe(
  z.array(z.object({ peer_id: z.string() })),
  z.transform((list) => list.length),
);
const constantsSchema = z.pipe(
  z.object({
    blocks_per_cycle: several,
    blocks_per_commitment: several,
    nonce_revelation_threshold: several,
    minimal_block_delay: seconds,
    delay_increment_per_round: seconds,
    consensus_rights_delay: count,
  }),
  z.transform((constants) => ({
    blocksPerCycle: constants.blocks_per_cycle,
    blocksPerCommitment: constants.blocks_per_commitment,
    nonceRevelationThreshold: constants.nonce_revelation_threshold,
    minimalBlockDelaySeconds: constants.minimal_block_delay,
    delayIncrementPerRoundSeconds: constants.delay_increment_per_round,
    consensusRightsDelay: constants.consensus_rights_delay,
  })),
);
export type Constants = z.infer<typeof constantsSchema>;
const currentLevelSchema = z.pipe(
  z.object({ level, cycle: z.int(), cycle_position: count, expected_commitment: z.boolean() }),
  z.transform((current) => ({
    level: current.level,
    cycle: current.cycle,
    cyclePosition: current.cycle_position,
    expectedCommitment: current.expected_commitment,
  })),
);
export type CurrentLevel = z.infer<typeof currentLevelSchema>;
const bakingRightsSchema = z.array(
  z.pipe(
    z.object({ level, delegate: z.string(), round: count, consensus_key: z.optional(z.string()) }),
    z.transform(({ consensus_key, ...right }) => ({ ...right, consensusKey: consensus_key ?? null })),
  ),
);
export type BakingRight = z.infer<typeof bakingRightsSchema>[number];
const attestationRightsSchema = z.array(z.object({ level, delegates: z.array(z.object({ delegate: z.string() })) }));
const participationSchema = z.pipe(
  z.object({ missed_slots: count, missed_levels: count }),
  z.transform(({ missed_slots, missed_levels }) => ({ missedSlots: missed_slots, missedLevels: missed_levels })),
);
/** Of the running cycle; both start at 0 in the next. */
export type Participation = z.infer<typeof participationSchema>;
const dalParticipationSchema = z.pipe(
  z.object({
    delegate_attested_dal_slots: count,
    delegate_attestable_dal_slots: count,
    sufficient_dal_participation: z.boolean(),
  }),
  z.transform((account) => ({
    attestedSlots: account.delegate_attested_dal_slots,
    attestableSlots: account.delegate_attestable_dal_slots,
    sufficient: account.sufficient_dal_participation,
  })),
);
/** Of the running cycle, in slots of the data availability layer. */
export type DalParticipation = z.infer<typeof dalParticipationSchema>;
const keyHash = z.string().check(z.regex(/^tz[1-9A-HJ-NP-Za-km-z]{34,36}$/));
const pendingSchema = z._default(
  z.array(
    z.pipe(
      z.object({ cycle: z.int(), pkh: keyHash }),
      z.transform(({ cycle, pkh }) => ({ cycle, address: pkh })),
    ),
  ),
  [],
);
const consensusKeysSchema = z.pipe(
  z.object({ active: z.object({ pkh: keyHash }), pendings: pendingSchema }),
  z.transform(({ active, pendings }) => ({ active: active.pkh, pending: pendings })),
);
/** The one that is active at a block, and those that the chain has accepted for later cycles. */
export type ConsensusKeys = z.infer<typeof consensusKeysSchema>;
const companionKeysSchema = z.pipe(
  z.object({ active: z.optional(z.nullable(z.object({ pkh: keyHash }))), pendings: pendingSchema }),
  z.transform(({ active, pendings }) => ({ active: active?.pkh ?? null, pending: pendings })),
);
export type CompanionKeys = z.infer<typeof companionKeysSchema>;
const protocolHash = z.string().check(z.regex(/^P[1-9A-HJ-NP-Za-km-z]{50}$/));
const protocolsSchema = z.pipe(
  z.object({ protocol: protocolHash, next_protocol: protocolHash }),
  z.transform((answer) => ({ running: answer.protocol, next: answer.next_protocol })),
);
/** Of a block: the one that made it, and the one that makes the next. */
export type Protocols = z.infer<typeof protocolsSchema>;
const votingPeriodSchema = z.pipe(
  z.object({
    voting_period: z.object({ kind: z.enum(votingPeriods) }),
    position: count,
    remaining: count,
  }),
  z.transform((answer) => ({
    kind: answer.voting_period.kind,
    /** Blocks of this period after this one, and all of them. */
    remaining: answer.remaining,
    blocks: answer.position + 1 + answer.remaining,
  })),
);
export type VotingPeriod = z.infer<typeof votingPeriodSchema>;
const proposalSchema = z.nullable(protocolHash);
const nonceSchema = z.union([
  z.pipe(
    z.strictObject({ nonce: z.string().check(z.regex(/^[0-9a-f]{64}$/)) }),
    z.transform(({ nonce }) => ({ state: "revealed" as const, nonce })),
  ),
  z.pipe(
    z.strictObject({ hash: z.string().check(z.regex(/^nce/)) }),
    z.transform(({ hash }) => ({ state: "missing" as const, hash })),
  ),
  z.pipe(
    z.strictObject({}),
    z.transform(() => ({ state: "forgotten" as const })),
  ),
]);
/** Of a level with a commitment: revealed; missing (still to be revealed); forgotten (or no commitment at all). */
export type NonceState = z.infer<typeof nonceSchema>;

/** Tenderbake's round: the last of five fitness elements, 8 hex digits. */
function roundOf(fitness: readonly string[]): number | null {
  const round = fitness[4];
  return fitness.length === 5 && round !== undefined && /^[0-9a-f]{8}$/.test(round) ? parseInt(round, 16) : null;
}

/** unreachable: no connection; status: another HTTP status than 200; malformed: not what was asked for. */
export type RpcFailure = "unreachable" | "timeout" | "status" | "malformed" | "aborted";
/** `sentAtMs` is Clock.now() when the request was sent. */
export type RpcOutcome<T> =
  | { ok: true; value: T; sentAtMs: number }
  | { ok: false; kind: RpcFailure; status: number; message: string; sentAtMs: number };
export interface RpcOptions {
  timeoutMs: number;
  signal?: AbortSignal;
}

export interface OctezRpc {
  /** `block` for instance "head", "head~2", a hash or a level. */
  header(options: RpcOptions & { block?: string }): Promise<RpcOutcome<Header>>;
  /** Number of connections, not of known peers. */
  connections(options: RpcOptions): Promise<RpcOutcome<number>>;
  chainId(options: RpcOptions): Promise<RpcOutcome<string>>;
  bootstrapped(
    options: RpcOptions,
  ): Promise<RpcOutcome<{ bootstrapped: boolean; syncState: "synced" | "unsynced" | "stuck" }>>;
  constants(options: RpcOptions): Promise<RpcOutcome<Constants>>;
  /** Of the block that comes `offset` after `block` ("head" by default). */
  currentLevel(options: RpcOptions & { offset?: number; block?: string }): Promise<RpcOutcome<CurrentLevel>>;
  /** Rights of the delegates at these levels, up to and including `maxRound`. */
  bakingRights(
    options: RpcOptions & { levels: readonly number[]; delegates: readonly string[]; maxRound: number },
  ): Promise<RpcOutcome<BakingRight[]>>;
  /** Those of these levels at which the delegate may attest. */
  attestationRights(
    options: RpcOptions & { levels: readonly number[]; delegate: string },
  ): Promise<RpcOutcome<number[]>>;
  nonce(options: RpcOptions & { level: number }): Promise<RpcOutcome<NonceState>>;
  /** What a delegate attested and missed in the running cycle, as of `block` ("head" by default). */
  participation(options: RpcOptions & { delegate: string; block?: string }): Promise<RpcOutcome<Participation>>;
  /** What a delegate attested of the DAL in the running cycle, as of the head. */
  dalParticipation(options: RpcOptions & { delegate: string }): Promise<RpcOutcome<DalParticipation>>;
  /** Of a delegate, as of `block` ("head" by default). */
  consensusKeys(options: RpcOptions & { delegate: string; block?: string }): Promise<RpcOutcome<ConsensusKeys>>;
  companionKeys(options: RpcOptions & { delegate: string; block?: string }): Promise<RpcOutcome<CompanionKeys>>;
  protocols(options: RpcOptions): Promise<RpcOutcome<Protocols>>;
  votingPeriod(options: RpcOptions): Promise<RpcOutcome<VotingPeriod>>;
  /** Hash of the protocol that is voted on, from the exploration period to the adoption; null where there is none. */
  proposal(options: RpcOptions): Promise<RpcOutcome<string | null>>;
  /**
   * Follows the stream of heads until `signal` aborts; connects again with backoff after an end, an error, `idleMs` of
   * silence or a malformed object, and says so in `onEnd`. A quiet stream proves nothing: callers poll too.
   */
  followHeads(
    onHead: (head: Head) => void,
    options: { signal: AbortSignal; idleMs: number; onEnd?: (reason: string) => void },
  ): Promise<void>;
  close(): void;
}

const problem = (error: z.core.$ZodError): string =>
  error.issues
    .slice(0, 3)
    .map((issue) => `${issue.path.join(".") || "(answer)"}: ${issue.message}`)
    .join("; ");

/** Asks a node, and follows its streams. */
class RpcConnection {
  private readonly base: URL;
  private readonly agent = new Agent({ keepAlive: true, maxFreeSockets: 2, timeout: 30_000 });
  private readonly closing = new AbortController();
  /** The last answer to each question: a header is the same for some seconds. */
  private readonly understood = new Map<z.ZodMiniType, { text: string; value: unknown }>();

  constructor(private readonly o: { url: string; clock: Clock; maxBytes: number }) {
    this.base = new URL(o.url);
  }

  close(): void {
    this.closing.abort();
    this.agent.destroy();
  }

  private open(path: string, dedicated: boolean): ClientRequest {
    return request({
      host: this.base.hostname,
      port: this.base.port,
      path: this.base.pathname.replace(/\/$/, "") + path,
      agent: dedicated ? false : this.agent,
      headers: { accept: "application/json" },
    });
  }

  async ask<T>(path: string, schema: z.ZodMiniType<T>, { timeoutMs, signal }: RpcOptions): Promise<RpcOutcome<T>> {
    const { clock, maxBytes } = this.o;
    const signals = [signal, this.closing.signal];
    const result = await exchange(() => this.open(path, false), { clock, timeoutMs, maxBytes, signals });
    const { sentAtMs } = result;
    const failed = (kind: RpcFailure, message: string, status = 0): RpcOutcome<T> => ({
      ...{ ok: false, kind, status, message, sentAtMs },
    });
    if (!result.answered) return failed(result.kind === "network" ? "unreachable" : result.kind, result.message);
    if (result.status !== 200) return failed("status", `HTTP ${result.status}`, result.status);
    const last = this.understood.get(schema);
    if (last?.text === result.body) return { ok: true, value: last.value as T, sentAtMs };
    let answer: unknown;
    try {
      answer = JSON.parse(result.body);
    } catch {
      return failed("malformed", `no JSON: ${JSON.stringify(result.body.slice(0, 60))}`, 200);
    }
    const parsed = schema.safeParse(answer);
    if (!parsed.success) return failed("malformed", problem(parsed.error), 200);
    if (result.body.length <= 4096) this.understood.set(schema, { text: result.body, value: parsed.data });
    return { ok: true, value: parsed.data, sentAtMs };
  }

  async followHeads(
    onHead: (head: Head) => void,
    { signal, idleMs, onEnd }: { signal: AbortSignal; idleMs: number; onEnd?: (reason: string) => void },
  ): Promise<void> {
    const stop = AbortSignal.any([signal, this.closing.signal]);
    let failures = 0;
    const onObject = (text: string): string | undefined => {
      let answer: unknown;
      try {
        answer = JSON.parse(text);
      } catch {
        return "no JSON";
      }
      const parsed = headSchema.safeParse(answer);
      if (!parsed.success) return problem(parsed.error);
      failures = 0;
      onHead(parsed.data);
      return undefined;
    };
    while (!stop.aborted) {
      const how = { idleMs, headersMs: 10_000, maxLength: 65_536, signal: stop, onObject };
      const ended = await followObjects(() => this.open("/monitor/heads/main", true), how);
      if (ended.end === "aborted") return;
      onEnd?.(`${ended.end}: ${ended.message}`);
      await sleep(backoffMs(failures++, 100, 2000), stop);
    }
  }
}

/** @param options url: http://ADDRESS:PORT of the node's RPC; maxBytes of one answer */
export function createOctezRpc(options: { url: string; clock: Clock; maxBytes?: number }): OctezRpc {
  const connection = new RpcConnection({ ...options, maxBytes: options.maxBytes ?? 2 * 1024 * 1024 });
  const ask = connection.ask.bind(connection);
  const at = (block: string) => `/chains/main/blocks/${encodeURIComponent(block)}`;
  const head = at("head");
  return {
    header: ({ block = "head", ...options }) => ask(`${at(block)}/header`, headerSchema, options),
    connections: (options) => ask("/network/connections", connectionsSchema, options),
    chainId: (options) => ask("/chains/main/chain_id", chainId, options),
    bootstrapped: (options) => ask("/chains/main/is_bootstrapped", bootstrappedSchema, options),
    constants: (options) => ask(`${head}/context/constants`, constantsSchema, options),
    currentLevel: ({ offset = 0, block = "head", ...options }) =>
      ask(`${at(block)}/helpers/current_level?offset=${offset}`, currentLevelSchema, options),
    bakingRights: ({ levels, delegates, maxRound, ...options }) => {
      const query = new URLSearchParams([
        ...levels.map((value): [string, string] => ["level", String(value)]),
        ...delegates.map((value): [string, string] => ["delegate", value]),
        ["max_round", String(maxRound)],
      ]);
      return ask(`${head}/helpers/baking_rights?${query.toString()}`, bakingRightsSchema, options);
    },
    attestationRights: async ({ levels, delegate, ...options }) => {
      const query = new URLSearchParams([
        ...levels.map((value): [string, string] => ["level", String(value)]),
        ["delegate", delegate],
      ]);
      const answer = await ask(
        `${head}/helpers/attestation_rights?${query.toString()}`,
        attestationRightsSchema,
        options,
      );
      if (!answer.ok) return answer;
      const ours = answer.value.filter(({ delegates }) => delegates.some((right) => right.delegate === delegate));
      return { ...answer, value: ours.map((right) => right.level) };
    },
    nonce: ({ level: of, ...options }) => ask(`${head}/context/nonces/${of}`, nonceSchema, options),
    participation: ({ delegate, block = "head", ...options }) =>
      ask(`${at(block)}/context/delegates/${delegate}/participation`, participationSchema, options),
    dalParticipation: ({ delegate, ...options }) =>
      ask(`${head}/context/delegates/${delegate}/dal_participation`, dalParticipationSchema, options),
    consensusKeys: ({ delegate, block = "head", ...options }) =>
      ask(`${at(block)}/context/delegates/${delegate}/consensus_key`, consensusKeysSchema, options),
    companionKeys: ({ delegate, block = "head", ...options }) =>
      ask(`${at(block)}/context/delegates/${delegate}/companion_key`, companionKeysSchema, options),
    protocols: (options) => ask(`${head}/protocols`, protocolsSchema, options),
    votingPeriod: (options) => ask(`${head}/votes/current_period`, votingPeriodSchema, options),
    proposal: (options) => ask(`${head}/votes/current_proposal`, proposalSchema, options),
    followHeads: connection.followHeads.bind(connection),
    close: () => connection.close(),
  };
}
