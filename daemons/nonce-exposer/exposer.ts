/** Wires files, connections, acknowledgements and accounting of the exposer. See main.ts for what it guarantees. */
import { memberPods } from "../../contract/baker-file";
import { ports } from "../../contract/ports";
import type { NonceStatus } from "../../contract/status";
import type { Clock } from "../runtime/clock";
import type { DaemonConfig } from "../runtime/config";
import { FolderWatch } from "../runtime/folder-watch";
import { followDocument } from "../runtime/follow-document";
import { followLeadership } from "../runtime/follow-leadership";
import { serveHttp } from "../runtime/http-server";
import type { Log } from "../runtime/log";
import { Counter, Gauge, type Registry } from "../runtime/metrics";
import { beatMs, exchangeKey, silenceMs, type ServerMessage } from "../runtime/nonce-wire";
import { repeat } from "../runtime/repeat";
import { Wake } from "../runtime/wake";
import { Acknowledgements } from "./acknowledgements";
import { CommitmentAudit } from "./commitment-audit";
import { ExchangeServer } from "./exchange-server";
import { OwnNonces } from "./own-nonces";

/** A reason for which connections are refused is logged this often. */
const refusalLogMs = 60_000;

export interface ExposerOptions {
  config: DaemonConfig;
  clock: Clock;
  log: Log;
  registry: Registry;
}

export class Exposer {
  private readonly others: readonly string[];
  private readonly acknowledgements: Acknowledgements;
  private readonly files: OwnNonces;
  private readonly audit: CommitmentAudit;
  private server: ExchangeServer | undefined;
  private unacknowledgedAlerted = false;
  private readonly refused: Counter;
  private readonly refusalLoggedAtMs = new Map<string, number>();

  constructor(private readonly o: ExposerOptions) {
    const { file, env } = o.config;
    this.others = memberPods(file).filter((pod) => pod !== env.TOG_POD_NAME);
    this.acknowledgements = new Acknowledgements(this.others);
    this.files = new OwnNonces({ ...o, onChange: () => this.contentChanged(), onRead: () => this.account() });
    this.audit = new CommitmentAudit({
      ...o,
      local: () => this.files.states,
      acknowledged: (hash) => this.acknowledgements.holds(hash),
    });
    this.gauges();
    this.refused = new Counter({
      name: "tog_nonce_exposer_refused_total",
      help: "Connections refused, by reason",
      labelNames: ["reason"],
      registers: [o.registry],
    });
  }

  status(): NonceStatus {
    const peers = this.acknowledgements.view(this.files.content?.hash);
    const final = this.acknowledgements.finalPushed(this.files.finalContent);
    const { missingLevels } = this.audit;
    return {
      ...this.audit.counts,
      reconciled: this.others.length === 0 || peers.every((peer) => peer.acknowledged),
      finalPushed: final.finalPushed,
      reason: [
        this.files.broken,
        this.files.isFinal ? final.reason : "",
        missingLevels.length > 0 ? `missing: ${missingLevels.map((level) => `level ${level}`).join(", ")}` : "",
        this.unacknowledgedAlerted ? "the content is on no other member" : "",
      ]
        .filter(Boolean)
        .join("; "),
      peers,
    };
  }

  /** Runs until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { log, registry } = this.o;
    const plain = await serveHttp({
      ...{ host: "", port: 0, listen: false, routes: {}, metrics: registry },
      status: () => this.status(),
    });
    const server = (this.server = this.exchangeServer((socket) => plain.accept(socket)));
    log.info("started", "", { port: await server.listen() });
    try {
      await Promise.all([
        this.followFiles(signal),
        this.followGate(signal),
        this.followElector(signal),
        this.remind(signal),
      ]);
    } finally {
      await server.close();
      await plain.close();
    }
  }

  private exchangeServer(plain: ConstructorParameters<typeof ExchangeServer>[0]["plain"]): ExchangeServer {
    const { env, file } = this.o.config;
    const { nonceAckSeconds } = file.timings;
    return new ExchangeServer({
      host: env.TOG_POD_ADDRESS,
      port: ports.nonceExposer,
      chainId: file.network.chainId,
      members: this.others,
      key: () => exchangeKey(env.TOG_SECRETS_DIR, file.baker),
      message: () => this.message(),
      onConnected: (pod, identity) => {
        this.acknowledgements.connected(pod, identity);
        this.o.log.info("nonce-peer", `${pod} connected`);
      },
      onDisconnected: (pod) => {
        this.acknowledgements.disconnected(pod);
        this.o.log.info("nonce-peer", `${pod} disconnected`);
      },
      onAcknowledged: (pod, hash) => {
        if (this.acknowledgements.acknowledge(pod, hash)) this.account();
      },
      onRefused: (code, reason) => this.connectionRefused(code, reason),
      plain,
      beatMs: beatMs(nonceAckSeconds),
      silenceMs: silenceMs(nonceAckSeconds),
      clock: this.o.clock,
    });
  }

  /** What a member is to know now. */
  private message(): ServerMessage | undefined {
    const { content, broken } = this.files;
    if (!content) return broken === "" ? undefined : { type: "unavailable", reason: broken };
    const { nonces, hash } = content;
    return {
      type: "content",
      pod: this.o.config.env.TOG_POD_NAME,
      chain: this.o.config.file.network.chainId,
      hash,
      file: nonces.file ?? null,
      stateful: nonces.stateful,
      legacy: nonces.legacy,
    };
  }

  private contentChanged(): void {
    const { content, states } = this.files;
    if (content) this.acknowledgements.remember(content.hash, new Set(states.keys()));
    this.server?.push();
  }

  private connectionRefused(code: string, reason: string): void {
    const { clock, log } = this.o;
    this.refused.inc({ reason: code });
    if (clock.now() - (this.refusalLoggedAtMs.get(code) ?? -Infinity) < refusalLogMs) return;
    this.refusalLoggedAtMs.set(code, clock.now());
    log.warn("nonce-connection-refused", `${code}: ${reason}`);
  }

  private followFiles(signal: AbortSignal): Promise<void> {
    const watch = new FolderWatch(
      this.o.config.env.TOG_CLIENT_DIR,
      (name) => /^net\w+_nonces$/i.test(name),
      () => void this.files.read(),
      (reason) => this.o.log.warn("nonce-watch", reason),
    );
    return repeat(signal, this.ackMs, async () => {
      watch.open();
      await this.files.read();
    }).finally(() => watch.close());
  }

  private async followGate(signal: AbortSignal): Promise<void> {
    const { clock, config } = this.o;
    await this.audit.askNode(signal);
    await Promise.all([
      repeat(signal, 2 * this.ackMs, () => this.audit.askNode(signal)),
      followDocument({
        clock,
        host: config.env.TOG_POD_ADDRESS,
        port: ports.gateHealth,
        path: "/commitments",
        timeoutMs: config.file.timings.requestTimeoutMs,
        // The gate tells each new one at once.
        streamMs: 5 * this.ackMs,
        pollMs: () => undefined,
        wake: new Wake(),
        signal,
        onDocument: (document) => this.audit.onCommitments(document),
      }),
    ]);
  }

  private followElector(signal: AbortSignal): Promise<void> {
    const { env, file } = this.o.config;
    return followLeadership({
      ...{ host: env.TOG_POD_ADDRESS, timings: file.timings, signal },
      onRecord: ({ nonces }) => this.files.setFinal(nonces === "final"),
      // Without the elector's word nothing is final.
      onDrop: () => this.files.setFinal(false),
    });
  }

  /** What becomes late by time alone is told, and a member that has not acknowledged hears the content again. */
  private async remind(signal: AbortSignal): Promise<void> {
    await Promise.all([
      repeat(signal, this.ackMs / 2, () => {
        if (this.audit.counts.missing > 0 || this.unacknowledgedSeconds() > 0) this.account();
      }),
      repeat(signal, 2 * this.ackMs, () => {
        const settled = this.o.clock.now() - this.files.changedAtMs > this.ackMs;
        const peers = this.acknowledgements.view(this.files.content?.hash);
        if (settled && peers.some((peer) => peer.connected && !peer.acknowledged)) this.server?.push();
      }),
    ]);
  }

  private get ackMs(): number {
    return this.o.config.file.timings.nonceAckSeconds * 1000;
  }

  private account(): void {
    this.audit.account();
    const late = this.unacknowledgedSeconds() * 1000 > this.ackMs;
    if (late && !this.unacknowledgedAlerted)
      this.o.log.warn("nonces-unacknowledged", "no other member has the content of this pod's nonce file");
    this.unacknowledgedAlerted = late;
  }

  /** Since when the content on disk is on no other member; 0 where it is, or where there is nothing to lose. */
  private unacknowledgedSeconds(): number {
    const { content, changedAtMs } = this.files;
    if (!content || this.others.length === 0 || content.nonces.stateful.length === 0) return 0;
    return this.acknowledgements.anybodyHas(content.hash) ? 0 : (this.o.clock.now() - changedAtMs) / 1000;
  }

  private gauges(): void {
    const gauge = (name: string, help: string, value: () => number): void =>
      void new Gauge({
        name,
        help,
        registers: [this.o.registry],
        collect() {
          this.set(value());
        },
      });
    const { audit } = this;
    gauge("tog_nonce_exposer_committed", "Commitments that passed this pod's gate", () => audit.counts.committed);
    gauge("tog_nonce_exposer_local", "Of these, in this pod's nonce file", () => audit.counts.local);
    gauge("tog_nonce_exposer_replicated", "Of these, acknowledged by another member", () => audit.counts.replicated);
    gauge("tog_nonce_exposer_revealed", "Of these, revealed", () => audit.counts.revealed);
    gauge(
      "tog_nonce_exposer_missing",
      "Of these, not both local and replicated, though there is something to reveal",
      () => audit.counts.missing,
    );
    gauge(
      "tog_nonce_exposer_peers_connected",
      "Members that are connected",
      () => this.acknowledgements.view(undefined).filter((peer) => peer.connected).length,
    );
    gauge("tog_nonce_exposer_file_broken", "1 while a nonce file of this pod cannot be read", () =>
      this.files.damaged ? 1 : 0,
    );
    gauge("tog_nonce_exposer_unacknowledged_seconds", "Since when the content on disk is on no other member", () =>
      this.unacknowledgedSeconds(),
    );
  }
}
