/** The RPC of the pod's own DAL node, as far as we ask it. Every answer is checked and has a deadline. */
import { get } from "node:http";
import * as z from "zod/mini";
import { followObjects, type StreamEnd } from "../runtime/http-client";
import { getJson } from "../runtime/http-get";

const text = z.string().check(z.maxLength(100));
const healthSchema = z.object({ status: text, checks: z.array(z.object({ name: text, status: text })) });
const level = z.int().check(z.nonnegative());
const connectionsSchema = z.pipe(
  z.array(z.object({ point: text })),
  z.transform((list) => list.length),
);

/** A stream in which nothing happens for a day is no sign of anything: perhaps nobody publishes. */
const aDayMs = 86_400_000;

interface AskOptions {
  timeoutMs: number;
  signal: AbortSignal;
}
export interface DalNode {
  /** All reject on any failure. */
  health(options: AskOptions): Promise<z.infer<typeof healthSchema>>;
  lastProcessedLevel(options: AskOptions): Promise<number>;
  /** Number of peers that it is connected to. */
  connections(options: AskOptions): Promise<number>;
  /**
   * Follows what octez-baker follows, the slots that `delegate` may attest, until that ends. `onOpen` is called with
   * the first object. Never rejects.
   */
  followAttestableSlots(delegate: string, onOpen: () => void, signal: AbortSignal): Promise<StreamEnd>;
}

/** @param url http://ADDRESS:PORT of its RPC */
export function createDalNode(url: string): DalNode {
  const ask = async <T>(path: string, schema: z.ZodMiniType<T>, options: AskOptions): Promise<T> =>
    schema.parse(await getJson(url + path, options));
  return {
    health: (options) => ask("/health", healthSchema, options),
    lastProcessedLevel: (options) => ask("/last_processed_level", level, options),
    connections: (options) => ask("/p2p/points?connected", connectionsSchema, options),
    followAttestableSlots: (delegate, onOpen, signal) =>
      followObjects(() => get(`${url}/profiles/${delegate}/monitor/attestable_slots`, { agent: false }), {
        ...{ idleMs: aDayMs, headersMs: 10_000, maxLength: 1 << 20, signal },
        onObject: () => void onOpen(),
      }),
  };
}
