/** The other members of this baker: where each is, and the connection to it. */
import * as z from "zod/mini";
import { memberPods } from "../../contract/baker-file";
import { electorPaths } from "../../contract/leadership";
import { headlessServiceName, holderPod } from "../../contract/names";
import { ports } from "../../contract/ports";
import { memberRecordSchema } from "../../contract/status";
import type { Clock } from "../runtime/clock";
import type { DaemonConfig } from "../runtime/config";
import { getJson } from "../runtime/http-get";
import type { Log } from "../runtime/log";
import { Counter, type Registry } from "../runtime/metrics";
import { beatMs, exchangeKey, silenceMs } from "../runtime/nonce-wire";
import { repeat } from "../runtime/repeat";
import { follow, type PeerContent } from "./follow";

export interface Peer {
  readonly pod: string;
  address: { host: string; port: number } | undefined;
  connected: boolean;
  /** Of the last change of the connection: see FollowOptions. */
  code: string;
  reason: string;
}

const refindMs = 10_000;
/** States of a peer that a person should see; the others are the ordinary ends of a connection. */
const alarming = new Set([
  "too-long",
  "not-json",
  "malformed",
  "other-pod",
  "other-chain",
  "not-a-list",
  "field",
  "hash-mismatch",
  "state-backwards",
  "silent",
  "unavailable",
]);

export class Peers {
  readonly list: readonly Peer[];
  private foundAtMs = -Infinity;
  private readonly refused: Counter;

  constructor(
    private readonly o: {
      config: DaemonConfig;
      clock: Clock;
      log: Log;
      registry: Registry;
      /** `acknowledge` tells the peer that its content is durable here. */
      onContent: (pod: string, content: PeerContent, acknowledge: () => void) => void;
    },
  ) {
    this.list = memberPods(o.config.file)
      .filter((pod) => pod !== o.config.env.TOG_POD_NAME)
      .map((pod) => ({ pod, address: undefined, connected: false, code: "", reason: "not tried yet" }));
    this.refused = new Counter({
      name: "tog_nonce_importer_refused_total",
      help: "Contents of other members that were refused, and silent members, by reason",
      labelNames: ["peer", "reason"],
      registers: [o.registry],
    });
  }

  /** Stays connected to each member until the signal aborts. */
  async follow(signal: AbortSignal): Promise<void> {
    await this.find(signal);
    await Promise.all([
      repeat(signal, 1000 * Math.min(1, this.o.config.file.timings.memberRenewSeconds), () => this.find(signal)),
      ...this.list.map((peer) => this.connect(peer, signal)),
    ]);
  }

  private async find(signal: AbortSignal): Promise<void> {
    const { env, file } = this.o.config;
    // A connection that stands knows where the peer is.
    if (this.list.every((peer) => peer.connected) && this.o.clock.now() - this.foundAtMs < refindMs) return;
    this.foundAtMs = this.o.clock.now();
    let found = new Map<string, string>();
    try {
      const answer = await getJson(`http://${env.TOG_POD_ADDRESS}:${ports.elector}${electorPaths.members}`, {
        timeoutMs: file.timings.requestTimeoutMs,
        signal,
      });
      const records = z.array(memberRecordSchema).parse(answer);
      found = new Map(
        records.filter((record) => record.address !== "").map((record) => [holderPod(record.identity), record.address]),
      );
    } catch {
      // Without an elector's answer the last addresses stay, and the name service knows unready pods too.
    }
    const service = `${headlessServiceName(file.baker, file.topology)}.${env.TOG_NAMESPACE}.svc`;
    for (const peer of this.list) {
      const host = found.get(peer.pod) ?? peer.address?.host ?? `${peer.pod}.${service}`;
      peer.address = { host, port: ports.nonceExposer };
    }
  }

  private connect(peer: Peer, signal: AbortSignal): Promise<void> {
    const { config, clock } = this.o;
    const { env, file } = config;
    return follow({
      pod: peer.pod,
      self: { pod: env.TOG_POD_NAME, identity: config.identity },
      chainId: file.network.chainId,
      address: () => peer.address,
      key: () => exchangeKey(env.TOG_SECRETS_DIR, file.baker),
      beatMs: beatMs(file.timings.nonceAckSeconds),
      silenceMs: silenceMs(file.timings.nonceAckSeconds),
      clock,
      signal,
      onContent: (content, acknowledge) => this.o.onContent(peer.pod, content, acknowledge),
      onState: (connected, code, reason) => {
        if (!signal.aborted) this.tell(peer, code, reason);
        Object.assign(peer, { connected, code, reason: code === "connected" ? "" : `${code}: ${reason}` });
      },
    });
  }

  private tell({ pod, code: before }: Peer, code: string, reason: string): void {
    const alarm = alarming.has(code);
    if (alarm) this.refused.inc({ peer: pod, reason: code });
    if (code === before) return;
    const text = `${pod}: ${code}${reason ? `: ${reason}` : ""}`;
    this.o.log[alarm ? "error" : "info"](alarm ? "nonce-peer-refused" : "nonce-peer", text, { code });
  }
}
