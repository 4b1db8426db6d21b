/** What this pod knows of the chain's head: its own node's, polled, and on demand the other members'. */
import * as http from "node:http";
import * as z from "zod/mini";
import type { MemberRecord } from "../../contract/status";
import type { Timings } from "../../contract/timings";
import { sleep, untilBeat, type Clock } from "../runtime/clock";
import { dalBitsOf } from "../../tezos/protocols";
import { isSynced } from "./decide";
import type { HeardHead } from "./gate-options";
import { exchange } from "../runtime/http-exchange";

const headerSchema = z.object({
  chain_id: z.string(),
  level: z.int().check(z.nonnegative()),
  timestamp: z.string(),
  protocol: z.optional(z.string()),
});
const dalSchema = z.pipe(
  z.object({
    number_of_slots: z.int().check(z.positive()),
    attestation_lags: z.array(z.int()).check(z.minLength(1)),
  }),
  z.transform((dal) => ({ slots: dal.number_of_slots, lags: dal.attestation_lags.length })),
);
const constantsSchema = z.object({
  aggregate_attestation: z.boolean(),
  /** Whole seconds. */
  minimal_block_delay: z.optional(z.string().check(z.regex(/^[1-9]\d{0,4}$/))),
  /** In a form that is not understood it is as if it were not told: nothing else depends on it. */
  dal_parametric: z.catch(z.optional(dalSchema), undefined),
});

/** Age of an RFC 3339 text on the wall clock, in seconds; NaN where it is none. */
export const ageSeconds = (timestamp: string, wallMs: number): number => (wallMs - Date.parse(timestamp)) / 1000;

/**
 * Highest level of a synced head (S5) among this node's and the members'; null where none is synced. A member's record
 * may be old: the age of its head's timestamp alone decides, since a head of age A proves the same whenever it was
 * told.
 */
export function syncedLevel(
  own: { level: number; ageSeconds: number } | undefined,
  members: readonly Pick<MemberRecord, "ready" | "headLevel" | "headTimestamp">[],
  wallMs: number,
  freshSeconds: number,
): number | null {
  const others = members.flatMap((member) =>
    member.ready && member.headLevel !== null && member.headTimestamp !== null
      ? [{ level: member.headLevel, ageSeconds: ageSeconds(member.headTimestamp, wallMs) }]
      : [],
  );
  const levels = [...(own ? [own] : []), ...others]
    .filter((head) => isSynced(head, freshSeconds))
    .map((head) => head.level);
  return levels.length === 0 ? null : Math.max(...levels);
}

export class Heads {
  private last: { level: number; ageSeconds: number; atMs: number } | undefined;
  private highestLevel = -1;
  private heardMs = -Infinity;
  /** Of the protocol that its head had then. */
  private constants: { protocol: string | undefined; aggregates: boolean } | undefined;
  /** As the node told the constants last. */
  private bits = dalBitsOf(undefined);
  /** The shortest minimal time between blocks that the node told: another protocol of the chain may be faster. */
  private fastestSeconds = Infinity;
  private readonly agent = new http.Agent({ keepAlive: true, maxFreeSockets: 1 });

  constructor(
    private readonly options: {
      /** For instance http://127.0.0.1:8732 */
      rpc: string;
      chainId: string;
      timings: Timings;
      clock: Clock;
      members: () => Promise<MemberRecord[] | undefined>;
      podAddress: string;
      /** @default over HTTP */
      exchange?: typeof exchange;
    },
  ) {}

  own(): HeardHead | undefined {
    if (!this.last) return undefined;
    const now = this.options.clock.now();
    return {
      level: this.last.level,
      ageSeconds: this.last.ageSeconds + (now - this.last.atMs) / 1000,
      highestLevel: this.highestLevel,
      heardAgoMs: now - this.heardMs,
      freshSeconds: this.freshSeconds,
    };
  }

  /** Ten blocks at the chain's fastest pace, and never more than `headFreshSeconds`. */
  private get freshSeconds(): number {
    return Math.min(this.options.timings.headFreshSeconds, 10 * this.fastestSeconds);
  }

  async synced(): Promise<number | null> {
    const members = (await this.options.members()) ?? [];
    return syncedLevel(this.own(), members, this.options.clock.wall(), this.freshSeconds);
  }

  /** The chain's constant `aggregate_attestation`; null until the node told it for the protocol of its head. */
  aggregates(): boolean | null {
    return this.constants?.aggregates ?? null;
  }

  /** Bound of a DAL bitset. While a new protocol's constants are not told, what was told last. */
  dalBits(): number {
    return this.bits;
  }

  /** What the node says of its head under `path`, or undefined. */
  private async ask<T>(path: string, schema: z.ZodMiniType<T>, signal?: AbortSignal): Promise<T | undefined> {
    const answer = await (this.options.exchange ?? exchange)(
      new URL(`/chains/main/blocks/head/${path}`, this.options.rpc),
      {
        method: "GET",
        timeoutMs: this.options.timings.requestTimeoutMs,
        agent: this.agent,
        maxBytes: 65_536,
        signal,
      },
    );
    if (!answer.ok || answer.status !== 200) return undefined;
    try {
      return schema.parse(JSON.parse(answer.body));
    } catch {
      return undefined;
    }
  }

  async poll(signal?: AbortSignal): Promise<void> {
    const { clock, chainId } = this.options;
    const atMs = clock.now();
    const header = await this.ask("header", headerSchema, signal);
    if (!header) return;
    const age = ageSeconds(header.timestamp, clock.wall());
    if (header.chain_id !== chainId || Number.isNaN(age)) return;
    this.heardMs = atMs;
    this.last = { level: header.level, ageSeconds: age, atMs: clock.now() };
    this.highestLevel = Math.max(this.highestLevel, header.level);
    const { protocol } = header;
    if (this.constants && this.constants.protocol === protocol) return;
    this.constants = undefined;
    const constants = await this.ask("context/constants", constantsSchema, signal);
    if (!constants) return;
    const blockSeconds = Number(constants.minimal_block_delay ?? Infinity);
    this.fastestSeconds = Math.min(this.fastestSeconds, blockSeconds);
    this.bits = dalBitsOf(constants.dal_parametric);
    this.constants = { protocol, aggregates: constants.aggregate_attestation };
  }

  /** Polls more often than there are blocks until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, timings, podAddress } = this.options;
    while (!signal.aborted) {
      await this.poll(signal);
      await sleep(untilBeat(clock, (timings.headFreshSeconds * 1000) / 15, podAddress), signal);
    }
    this.agent.destroy();
  }
}
