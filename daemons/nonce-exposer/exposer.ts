/** Wires files, connections, acknowledgements and accounting of the exposer. See main.ts for what it guarantees. */
import { watch, type FSWatcher } from "node:fs";
import * as z from "zod/mini";
import { memberPods } from "../../contract/baker-file";
import { ports } from "../../contract/ports";
import type { NonceStatus } from "../../contract/status";
import { encodeNonceHash, nonceHash } from "../../tezos/nonces";
import { sleep, type Clock } from "../runtime/clock";
import type { DaemonConfig } from "../runtime/config";
import { getJson } from "../runtime/http-get";
import { serveHttp, type HttpServer } from "../runtime/http-server";
import type { Log } from "../runtime/log";
import { Counter, Gauge, type Registry } from "../runtime/metrics";
import { followDocument } from "../runtime/follow-document";
import { followLeadership } from "../runtime/follow-leadership";
import { contentHash, filesSignature, readNonces, type ReadNonces } from "../runtime/nonce-files";
import { beatMs, exchangeKey, silenceMs } from "../runtime/nonce-wire";
import { Wake } from "../runtime/wake";
import { Acknowledgements } from "./acknowledgements";
import { decide, isMissing, isOpen, type ChainAnswer, type Commitment, type Counts, type Tracked } from "./accounting";
import { serveExchange, type ExchangeServer } from "./exchange-server";

const seedNonceHashSchema = z.pipe(
  z.string().check(z.regex(/^(nce[1-9A-HJ-NP-Za-km-z]{50}|[0-9a-f]{64})$/)),
  z.transform((text) => (text.startsWith("nce") ? text : encodeNonceHash(Buffer.from(text, "hex")))),
);
const commitmentsSchema = z.array(
  z.object({ address: z.string(), level: z.int(), round: z.int(), seedNonceHash: seedNonceHashSchema }),
);
const levelSchema = z.object({ level: z.int() });
const chainNonceSchema = z.object({ hash: z.optional(z.string()), nonce: z.optional(z.string()) });
const chainQuestionsATick = 4;
/** Files that look unchanged are read all the same this often. */
const rereadMs = 10_000;

export interface Exposer {
  status(): NonceStatus;
  /** Runs until the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
}

export function createExposer(options: { config: DaemonConfig; clock: Clock; log: Log; registry: Registry }): Exposer {
  const { config, clock, log, registry } = options;
  const { env, file } = config;
  const t = file.timings;
  const ackMs = t.nonceAckSeconds * 1000;
  const others = memberPods(file).filter((pod) => pod !== env.TOG_POD_NAME);
  const acknowledgements = new Acknowledgements(others);

  /** The last whole content; a broken file leaves it as it is. */
  let content: ReadNonces | undefined;
  let hash: string | undefined;
  let changedAtMs = clock.now();
  let broken = "";
  let isFinal = false;
  let finalHash: string | undefined;
  let tracked: Tracked[] = [];
  let counts: Counts = { committed: 0, local: 0, replicated: 0, revealed: 0, missing: 0 };
  let commitments: readonly Commitment[] = [];
  let headLevel: number | undefined;
  const chain = new Map<number, ChainAnswer>();
  const askedAtMs = new Map<number, number>();
  let localStates = new Map<string, boolean>();
  let server: ExchangeServer | undefined;
  let unacknowledgedAlerted = false;

  const gauge = (name: string, help: string, value: () => number): void =>
    void new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(value());
      },
    });
  gauge("tog_nonce_exposer_committed", "Commitments that passed this pod's gate", () => counts.committed);
  gauge("tog_nonce_exposer_local", "Of these, in this pod's nonce file", () => counts.local);
  gauge("tog_nonce_exposer_replicated", "Of these, acknowledged by another member", () => counts.replicated);
  gauge("tog_nonce_exposer_revealed", "Of these, revealed", () => counts.revealed);
  gauge(
    "tog_nonce_exposer_missing",
    "Of these, not both local and replicated, though there is something to reveal",
    () => counts.missing,
  );
  gauge(
    "tog_nonce_exposer_peers_connected",
    "Members that are connected",
    () => acknowledgements.view(hash).filter((peer) => peer.connected).length,
  );
  gauge("tog_nonce_exposer_file_broken", "1 while a nonce file of this pod cannot be read", () =>
    broken === "" && !content?.damaged ? 0 : 1,
  );
  gauge(
    "tog_nonce_exposer_unacknowledged_seconds",
    "Since when the content on disk is on no other member",
    unacknowledgedSeconds,
  );
  const refused = new Counter({
    name: "tog_nonce_exposer_refused_total",
    help: "Connections refused, by reason",
    labelNames: ["reason"],
    registers: [registry],
  });

  function unacknowledgedSeconds(): number {
    if (
      hash === undefined ||
      others.length === 0 ||
      (content?.stateful.length ?? 0) === 0 ||
      acknowledgements.anybodyHas(hash)
    )
      return 0;
    return (clock.now() - changedAtMs) / 1000;
  }

  const account = (): void => {
    const result = decide(tracked, {
      commitments,
      local: localStates,
      acknowledged: (nonce) => acknowledgements.holds(nonce),
      chain,
      headLevel,
      nowMs: clock.now(),
      ackMs,
    });
    ({ tracked, counts } = result);
    for (const alert of result.alerts.slice(0, 3))
      log.error("nonce-unreplicated", alert.local ? "on no other member" : "not in this pod's nonce file", {
        hash: alert.hash,
        blockLevel: alert.level,
        round: alert.round,
        more: Math.max(0, result.alerts.length - 3),
      });
    const late = unacknowledgedSeconds() * 1000 > ackMs;
    if (late && !unacknowledgedAlerted)
      log.warn("nonces-unacknowledged", "no other member has the content of this pod's nonce file");
    unacknowledgedAlerted = late;
  };

  let signature = "";
  let readAtMs = -Infinity;
  let reading: Promise<void> | undefined;
  let again = false;
  /** Reads the files; at most one reading at a time, and one after the last request. */
  const read = (): Promise<void> => {
    if (reading) {
      again = true;
      return reading;
    }
    reading = (async () => {
      do {
        again = false;
        const forFinal = isFinal;
        const seen = await filesSignature(env.TOG_CLIENT_DIR, file.network.chainId);
        const recent = clock.now() - readAtMs < rereadMs;
        if (seen !== "" && seen === signature && recent && broken === "" && (!forFinal || finalHash !== undefined))
          continue;
        signature = seen;
        readAtMs = clock.now();
        try {
          const next = await readNonces(env.TOG_CLIENT_DIR, file.network.chainId);
          const nextHash = contentHash(next);
          if (broken !== "") log.info("nonce-file-whole", "readable again");
          broken = "";
          if (next.damaged !== undefined && next.damaged !== content?.damaged)
            log.error("nonce-file-broken", `${next.damaged}; the others are served`);
          if (content) content.damaged = next.damaged;
          if (nextHash !== hash) {
            content = next;
            hash = nextHash;
            changedAtMs = clock.now();
            localStates = new Map(next.stateful.map((entry) => [entry.hash, entry.state !== "committed"]));
            acknowledgements.remember(nextHash, new Set(localStates.keys()));
            server?.push();
          }
          if (forFinal && isFinal) finalHash = nextHash;
        } catch (error) {
          const reason = error instanceof Error ? error.message : String(error);
          if (reason !== broken) log.error("nonce-file-broken", reason);
          broken = reason;
          server?.push();
        }
      } while (again);
      reading = undefined;
      account();
    })();
    return reading;
  };

  const onCommitments = (document: unknown): void => {
    const parsed = commitmentsSchema.safeParse(document);
    // What the gate let through stays in our list.
    if (!parsed.success) return;
    commitments = parsed.data.map(({ seedNonceHash, ...rest }) => ({ ...rest, hash: seedNonceHash }));
    account();
  };

  const askNode = async (signal: AbortSignal): Promise<void> => {
    const rpc = `http://${env.TOG_LOCAL_ADDRESS}:${ports.octezRpc}/chains/main/blocks/head`;
    const ask = (url: string): Promise<unknown> => getJson(url, { timeoutMs: t.requestTimeoutMs, signal });
    try {
      headLevel = levelSchema.parse(await ask(`${rpc}/helpers/current_level`)).level;
    } catch {
      headLevel = undefined;
    }
    const due = tracked.filter(
      (entry) =>
        isOpen(entry) && clock.now() - (askedAtMs.get(entry.level) ?? -Infinity) > (isMissing(entry) ? 2 : 10) * ackMs,
    );
    if (due.length > 0) {
      try {
        for (const { level } of due.slice(0, chainQuestionsATick)) {
          if (headLevel === undefined) break;
          askedAtMs.set(level, clock.now());
          const { hash: committed, nonce } = chainNonceSchema.parse(await ask(`${rpc}/context/nonces/${level}`));
          chain.set(
            level,
            nonce !== undefined
              ? { kind: "revealed", hash: nonceHash(nonce) }
              : committed !== undefined
                ? { kind: "committed", hash: committed }
                : { kind: "none" },
          );
        }
      } catch {
        // Without the node a commitment stays open, which errs on the side of an alert.
      }
      const levels = new Set(tracked.map((entry) => entry.level));
      for (const level of [...askedAtMs.keys()].filter((candidate) => !levels.has(candidate))) {
        askedAtMs.delete(level);
        chain.delete(level);
      }
    }
    account();
  };

  const follows = (wanted: boolean): void => {
    if (wanted === isFinal) return;
    isFinal = wanted;
    finalHash = undefined;
    if (wanted) void read();
  };

  const status = (): NonceStatus => {
    const peers = acknowledgements.view(hash);
    const final = acknowledgements.finalPushed(isFinal && broken === "" ? finalHash : undefined);
    const missing = tracked.filter(isMissing);
    return {
      ...counts,
      reconciled: others.length === 0 || peers.every((peer) => peer.acknowledged),
      finalPushed: final.finalPushed,
      reason: [
        broken,
        isFinal ? final.reason : "",
        missing.length > 0 ? `missing: ${missing.map((entry) => `level ${entry.level}`).join(", ")}` : "",
        unacknowledgedAlerted ? "the content is on no other member" : "",
      ]
        .filter(Boolean)
        .join("; "),
      peers,
    };
  };

  return {
    status,
    async run(signal) {
      const plain: HttpServer = await serveHttp({
        host: "",
        port: 0,
        listen: false,
        routes: {},
        status,
        metrics: registry,
      });
      const lastRefusal = new Map<string, number>();
      const exchange = (server = await serveExchange({
        host: env.TOG_POD_ADDRESS,
        port: ports.nonceExposer,
        chainId: file.network.chainId,
        members: others,
        key: () => exchangeKey(env.TOG_SECRETS_DIR, file.baker),
        message: () =>
          content && hash !== undefined
            ? {
                type: "content",
                pod: env.TOG_POD_NAME,
                chain: file.network.chainId,
                hash,
                file: content.file ?? null,
                stateful: content.stateful,
                legacy: content.legacy,
              }
            : broken !== ""
              ? { type: "unavailable", reason: broken }
              : undefined,
        onConnected: (pod, identity) => {
          acknowledgements.connected(pod, identity);
          log.info("nonce-peer", `${pod} connected`);
        },
        onDisconnected: (pod) => {
          acknowledgements.disconnected(pod);
          log.info("nonce-peer", `${pod} disconnected`);
        },
        onAcknowledged: (pod, contentHashSeen) => {
          if (acknowledgements.acknowledge(pod, contentHashSeen)) account();
        },
        onRefused: (code, reason) => {
          refused.inc({ reason: code });
          if (clock.now() - (lastRefusal.get(code) ?? -Infinity) < 60_000) return;
          lastRefusal.set(code, clock.now());
          log.warn("nonce-connection-refused", `${code}: ${reason}`);
        },
        plain: (socket) => plain.accept(socket),
        beatMs: beatMs(t.nonceAckSeconds),
        silenceMs: silenceMs(t.nonceAckSeconds),
        clock,
      }));
      log.info("started", "", { port: exchange.port });
      let watcher: FSWatcher | undefined;
      const observe = (): void => {
        try {
          watcher ??= watch(env.TOG_CLIENT_DIR, { signal }, (_event, name) => {
            if (name === null || /^net\w+_nonces$/i.test(name)) void read();
          }).on("error", () => (watcher = undefined));
        } catch {
          // The folder may not exist yet; the rescan sees it.
        }
      };
      const every = async (ms: number, body: () => Promise<void>): Promise<void> => {
        while (!signal.aborted) {
          await body();
          await sleep(ms, signal);
        }
      };
      try {
        await Promise.all([
          every(ackMs, async () => {
            observe();
            await read();
          }),
          every(2 * ackMs, () => askNode(signal)),
          // Time alone makes something late.
          every(ackMs / 2, () => {
            if (counts.missing > 0 || unacknowledgedSeconds() > 0) account();
            return Promise.resolve();
          }),
          askNode(signal).then(() =>
            followDocument({
              ...{
                clock,
                host: env.TOG_POD_ADDRESS,
                port: ports.gateHealth,
                path: "/commitments",
                timeoutMs: t.requestTimeoutMs,
              },
              // The gate tells each new one at once.
              ...{ streamMs: 5 * ackMs, pollMs: () => undefined, wake: new Wake(), signal },
              onDocument: onCommitments,
            }),
          ),
          // Whoever is connected and has not acknowledged hears it again: nothing hangs on one message.
          every(2 * ackMs, () => {
            if (
              clock.now() - changedAtMs > ackMs &&
              acknowledgements.view(hash).some((peer) => peer.connected && !peer.acknowledged)
            )
              exchange.push();
            return Promise.resolve();
          }),
          // Without the elector's word nothing is final.
          followLeadership({
            ...{ host: env.TOG_POD_ADDRESS, timings: t, signal },
            onRecord: ({ nonces }) => follows(nonces === "final"),
            onDrop: () => follows(false),
          }),
        ]);
      } finally {
        await exchange.close();
        await plain.close();
      }
    },
  };
}
