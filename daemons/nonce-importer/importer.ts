/** Wires peers, writer, local copy and status of the importer. See main.ts for what it guarantees. */
import { watch } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import * as z from "zod/mini";
import { memberPods } from "../../contract/baker-file";
import { electorPaths } from "../../contract/leadership";
import { headlessServiceName, holderPod } from "../../contract/names";
import { ports } from "../../contract/ports";
import { memberRecordSchema, nonceStatusSchema, type NonceStatus } from "../../contract/status";
import { checkLegacy, checkStateful, mergeSets, retain, type NonceSet } from "../../tezos/nonces";
import { backoffMs, sleep, type Clock } from "../runtime/clock";
import type { DaemonConfig } from "../runtime/config";
import { removeLeftovers, writeDurably } from "../runtime/durable";
import { getJson } from "../runtime/http-get";
import type { Log } from "../runtime/log";
import { Counter, Gauge, Histogram, type Registry } from "../runtime/metrics";
import { BrokenNonceFile, contentHash, filesSignature, readNonces } from "../runtime/nonce-files";
import { beatMs, exchangeKey, silenceMs } from "../runtime/nonce-wire";
import { Recent } from "../runtime/recent";
import { follow } from "./follow";
import { decide } from "./reconcile";
import type { Writer } from "./writer";

interface Peer {
  pod: string;
  address: { host: string; port: number } | undefined;
  connected: boolean;
  code: string;
  reason: string;
  imported: boolean;
  /** Newest content that is not merged yet. */
  pending: { content: NonceSet; acknowledge: () => void } | undefined;
  /** Newest content that was taken, for repairs. */
  last: NonceSet | undefined;
}

export interface Importer {
  status(): NonceStatus;
  /** Runs until the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
}

const defaultKeepCycles = 2;
/** The copy of our own file is not urgent; the other members, who get it now, and the merges of theirs are. */
const lookDelayMs = 1000;
/** Files that look unchanged are read all the same this often. */
const relookMs = 10_000;
const currentLevelSchema = z.object({ cycle: z.int() });
const constantsSchema = z.object({ consensus_rights_delay: z.int() });
/** States of a peer that a person should see; the others are the ordinary ends of a connection. */
const refusals = new Set([
  "too-long",
  "not-json",
  "malformed",
  "other-pod",
  "other-chain",
  "not-a-list",
  "field",
  "hash-mismatch",
  "state-backwards",
]);

export function createImporter(options: {
  config: DaemonConfig;
  writer: Writer;
  clock: Clock;
  log: Log;
  registry: Registry;
  /** The status has changed in what a person should know. */
  onTrouble?: () => void;
}): Importer {
  const { config, writer, clock, log, registry } = options;
  const recent = new Recent(clock);
  const { env, file } = config;
  const t = file.timings;
  const startedMs = clock.now();
  const boundMs = t.nonceAckSeconds * 5000;
  const copyPath = join(env.TOG_STATE_DIR, "nonces", "copy.json");
  const peers: Peer[] = memberPods(file)
    .filter((pod) => pod !== env.TOG_POD_NAME)
    .map((pod) => ({
      pod,
      address: undefined,
      connected: false,
      code: "",
      reason: "not tried yet",
      imported: false,
      pending: undefined,
      last: undefined,
    }));
  let exposer: NonceStatus | undefined;
  let cycle: number | undefined;
  let keepCycles: number | undefined;
  let reconciled = false;
  /** What is wrong now, by what it concerns: merge, file, foreign. */
  const problems = new Map<string, string>();
  let copy: NonceSet = { stateful: [], legacy: [] };

  const merges = new Counter({
    name: "tog_nonce_importer_merges_total",
    help: "Merges by outcome",
    labelNames: ["outcome"],
    registers: [registry],
  });
  const refused = new Counter({
    name: "tog_nonce_importer_refused_total",
    help: "Contents of other members that were refused, and silent members, by reason",
    labelNames: ["peer", "reason"],
    registers: [registry],
  });
  const quarantined = new Counter({
    name: "tog_nonce_importer_quarantined_total",
    help: "Broken nonce files moved aside",
    registers: [registry],
  });
  const hold = new Histogram({
    name: "tog_nonce_importer_lock_hold_seconds",
    help: "How long wallet_lock was held",
    buckets: [0.0005, 0.001, 0.005, 0.02, 0.1, 0.5],
    registers: [registry],
  });
  new Gauge({
    name: "tog_nonce_importer_reconciled",
    help: "1 after the first exchange in both directions, or after giving up waiting",
    registers: [registry],
    collect() {
      this.set(reconciled ? 1 : 0);
    },
  });

  /** Merges into the files of this pod. True once the content is durable here. */
  const merge = async (content: NonceSet, from: string): Promise<boolean> => {
    const outcome = await writer.run({
      clientDir: env.TOG_CLIENT_DIR,
      chainId: file.network.chainId,
      remote: content,
      currentCycle: cycle,
      keepCycles: keepCycles ?? defaultKeepCycles,
      lockHoldMs: t.lockHoldMs,
      lockWaitMs: t.importerKillMs * 0.6,
    });
    merges.inc({ outcome: outcome.outcome });
    if (!("heldMs" in outcome)) {
      report("merge", "nonce-write-failed", `${from}: ${outcome.outcome}: ${outcome.reason}`);
      return false;
    }
    if (outcome.heldMs > 0) hold.observe(outcome.heldMs / 1000);
    if (outcome.heldMs > t.lockHoldMs)
      log.warn("nonce-lock-held-long", `${Math.round(outcome.heldMs)} ms of at most ${t.lockHoldMs}`);
    if (outcome.quarantined !== null) {
      quarantined.inc();
      log.error("nonce-file-quarantined", `the broken file is kept as ${outcome.quarantined}; restored from ${from}`);
      happened("quarantine", `a broken nonce file was moved aside (${outcome.quarantined}) and restored from ${from}`);
    }
    if (outcome.outcome === "busy") {
      report("merge", "nonce-lock-busy", `${from}: ${outcome.reason}`);
      return false;
    }
    if (outcome.outcome === "written")
      log.info("nonces-imported", from, { added: outcome.added, advanced: outcome.advanced, heldMs: outcome.heldMs });
    solved("merge");
    return true;
  };
  /** One alert per change. */
  const report = (what: string, event: string, reason: string): void => {
    if (problems.get(what) === reason) return;
    log.warn(event, reason);
    problems.set(what, reason);
    options.onTrouble?.();
  };
  const solved = (what: string): void => {
    const reason = problems.get(what);
    if (reason === undefined) return;
    problems.delete(what);
    happened(what, `over: ${reason}`);
  };
  const happened = (about: string, text: string): void => {
    recent.note(about, text);
    options.onTrouble?.();
  };

  let wake: () => void = () => undefined;
  let repair = true;
  let attempt = 0;
  const queue = async (signal: AbortSignal): Promise<void> => {
    signal.addEventListener("abort", () => wake());
    while (!signal.aborted) {
      const peer = peers.find((candidate) => candidate.pending);
      if (!repair && !peer) {
        await new Promise<void>((resolve) => (wake = resolve));
        continue;
      }
      let done: boolean;
      if (repair) {
        done = await merge(
          peers.reduce((all, { last }) => (last ? mergeSets(all, last) : all), copy),
          "the copy and the other members",
        );
        if (done) repair = false;
      } else if (peer?.pending) {
        const job = peer.pending;
        done = await merge(job.content, peer.pod);
        if (done) {
          if (peer.pending === job) peer.pending = undefined;
          peer.imported = true;
          job.acknowledge();
        }
      } else continue;
      attempt = done ? 0 : attempt + 1;
      if (!done) await sleep(backoffMs(attempt, 20, 1000), signal);
    }
  };

  /**
   * Follows our own files: a durable copy of what they hold (octez-baker does not fsync), and a repair where they broke
   * or vanished.
   */
  let signature = "";
  let lookedAtMs = -Infinity;
  const look = async (): Promise<void> => {
    try {
      const seen = await filesSignature(env.TOG_CLIENT_DIR, file.network.chainId);
      if (seen !== "" && seen === signature && clock.now() - lookedAtMs < relookMs) return;
      lookedAtMs = clock.now();
      const local = await readNonces(env.TOG_CLIENT_DIR, file.network.chainId);
      if (local.foreign.length > 0) report("foreign", "nonce-file-foreign", `left alone: ${local.foreign.join(", ")}`);
      if (local.file === undefined && copy.stateful.length > 0) {
        if (!repair) {
          log.error("nonce-file-lost", "the stateful nonce file is gone");
          happened("lost", "the nonce file was gone: restored from its copy and the other members");
        }
        repair = true;
        return wake();
      }
      signature = seen;
      solved("file");
      const merged = mergeSets(copy, local);
      const next = { ...merged, stateful: retain(merged.stateful, cycle, keepCycles ?? defaultKeepCycles) };
      if (contentHash(next) === contentHash(copy)) return;
      await writeDurably(copyPath, JSON.stringify(next));
      copy = next;
    } catch (error) {
      if (error instanceof BrokenNonceFile) {
        // An entry with a wrong hash, or that is not understood, is not repaired: the rest of the file is good, and the
        // exposer raises the alarm.
        if (error.code === "hash-mismatch" || error.code === "field")
          return report("file", "nonce-file-broken", error.message);
        if (!repair) log.error("nonce-file-broken", error.message);
        repair = true;
        wake();
      } else report("file", "nonce-file-unreadable", error instanceof Error ? error.message : String(error));
    }
  };

  const every = async (signal: AbortSignal, ms: () => number, body: () => Promise<void>): Promise<void> => {
    while (!signal.aborted) {
      await body();
      await sleep(ms(), signal);
    }
  };

  let foundAtMs = -Infinity;
  const findPeers = async (signal: AbortSignal): Promise<void> => {
    // A connection that stands knows where the peer is.
    if (peers.every((peer) => peer.connected) && clock.now() - foundAtMs < 10_000) return;
    foundAtMs = clock.now();
    let found = new Map<string, string>();
    try {
      const answer = await getJson(`http://${env.TOG_POD_ADDRESS}:${ports.elector}${electorPaths.members}`, {
        timeoutMs: t.requestTimeoutMs,
        signal,
      });
      const records = z.array(memberRecordSchema).parse(answer);
      found = new Map(
        records.filter((record) => record.address !== "").map((record) => [holderPod(record.identity), record.address]),
      );
    } catch {
      // Without an elector's answer the last addresses stay, and the name service knows unready pods too.
    }
    for (const peer of peers) {
      const address = found.get(peer.pod);
      if (address !== undefined) peer.address = { host: address, port: ports.nonceExposer };
      else
        peer.address ??= {
          host: `${peer.pod}.${headlessServiceName(file.baker, file.topology)}.${env.TOG_NAMESPACE}.svc`,
          port: ports.nonceExposer,
        };
    }
  };
  const askNode = async (signal: AbortSignal): Promise<void> => {
    const rpc = `http://${env.TOG_LOCAL_ADDRESS}:${ports.octezRpc}/chains/main/blocks/head`;
    try {
      cycle = currentLevelSchema.parse(
        await getJson(`${rpc}/helpers/current_level`, { timeoutMs: t.requestTimeoutMs, signal }),
      ).cycle;
      keepCycles ??= constantsSchema.parse(
        await getJson(`${rpc}/context/constants`, { timeoutMs: t.requestTimeoutMs, signal }),
      ).consensus_rights_delay;
    } catch {
      // An old cycle keeps more than the new one would.
    }
  };
  const askExposer = async (signal: AbortSignal): Promise<void> => {
    try {
      const url = `http://${env.TOG_POD_ADDRESS}:${ports.nonceExposer}/status`;
      exposer = nonceStatusSchema.parse(await getJson(url, { timeoutMs: t.requestTimeoutMs, signal }));
    } catch {
      exposer = undefined;
    }
    if (reconciled) return;
    const decision = decide({
      sinceStartMs: clock.now() - startedMs,
      boundMs,
      peers: peers.map(({ pod, imported }) => ({
        pod,
        imported,
        acknowledged: exposer?.peers.some((peer) => peer.pod === pod && peer.acknowledged) ?? false,
      })),
    });
    reconciled = decision.reconciled;
    if (reconciled) log[decision.reason.startsWith("gave up") ? "warn" : "info"]("nonces-reconciled", decision.reason);
  };

  return {
    status: () => ({
      missing: exposer?.missing ?? 0,
      committed: exposer?.committed ?? 0,
      local: exposer?.local ?? 0,
      replicated: exposer?.replicated ?? 0,
      revealed: exposer?.revealed ?? 0,
      finalPushed: false,
      reconciled,
      reason: [
        ...problems.values(),
        ...peers.filter((peer) => !peer.connected).map((peer) => `${peer.pod}: ${peer.reason}`),
      ].join("; "),
      peers: peers.map((peer) => ({
        pod: peer.pod,
        connected: peer.connected,
        acknowledged: peer.imported && !peer.pending,
        reason: peer.reason,
      })),
      recent: recent.list(),
    }),
    async run(signal) {
      await mkdir(dirname(copyPath), { recursive: true });
      await removeLeftovers(dirname(copyPath));
      await mkdir(env.TOG_CLIENT_DIR, { recursive: true });
      try {
        const saved = z
          .object({ stateful: z.unknown(), legacy: z.unknown() })
          .parse(JSON.parse(await readFile(copyPath, "utf8")));
        copy = { stateful: checkStateful(saved.stateful), legacy: checkLegacy(saved.legacy) };
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOENT")
          log.error("nonce-copy-broken", error instanceof Error ? error.name : String(error));
      }
      await findPeers(signal);
      let soon: NodeJS.Timeout | undefined;
      try {
        watch(env.TOG_CLIENT_DIR, { signal }, (_event, name) => {
          if (name !== null && /_nonces$/i.test(name))
            soon ??= setTimeout(() => ((soon = undefined), void look()), lookDelayMs);
        }).on("error", (error) => log.warn("nonce-watch", error.message));
      } catch (error) {
        // A node of Kubernetes can run out of watches; what is looked at regularly comes a little later.
        log.warn("nonce-watch", error instanceof Error ? error.message : String(error));
      }
      await Promise.all([
        queue(signal),
        every(signal, () => 1000 * t.nonceAckSeconds, look),
        every(
          signal,
          () => 1000 * Math.min(1, t.memberRenewSeconds),
          () => findPeers(signal),
        ),
        every(
          signal,
          () => (cycle === undefined || keepCycles === undefined ? 1000 : 10_000),
          () => askNode(signal),
        ),
        every(
          signal,
          () => (reconciled ? 2000 * t.nonceAckSeconds : 50),
          () => askExposer(signal),
        ),
        ...peers.map((peer) =>
          follow({
            pod: peer.pod,
            self: { pod: env.TOG_POD_NAME, identity: config.identity },
            chainId: file.network.chainId,
            address: () => peer.address,
            key: () => exchangeKey(env.TOG_SECRETS_DIR, file.baker),
            beatMs: beatMs(t.nonceAckSeconds),
            silenceMs: silenceMs(t.nonceAckSeconds),
            clock,
            signal,
            onContent: (content, acknowledge) => {
              peer.pending = { content, acknowledge };
              peer.last = content;
              wake();
            },
            onState: (connected, code, reason) => {
              const alarm = refusals.has(code) || code === "silent" || code === "unavailable";
              if (alarm) refused.inc({ peer: peer.pod, reason: code });
              if (code !== peer.code && !signal.aborted)
                log[alarm ? "error" : "info"](
                  alarm ? "nonce-peer-refused" : "nonce-peer",
                  `${peer.pod}: ${code}${reason ? `: ${reason}` : ""}`,
                  { code },
                );
              Object.assign(peer, {
                connected,
                code,
                reason: connected && code === "connected" ? "" : `${code}: ${reason}`,
              });
            },
          }),
        ),
      ]);
      clearTimeout(soon);
    },
  };
}
