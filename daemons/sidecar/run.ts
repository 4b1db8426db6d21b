/** The sidecar's server, metrics and log around the observer. */
import type { BakerFile } from "../../contract/baker-file";
import type { SidecarStatus } from "../../contract/status";
import type { Clock } from "../runtime/clock";
import { serveHttp } from "../runtime/http-server";
import type { Log } from "../runtime/log";
import { createRegistry } from "../runtime/metrics";
import type { OctezRpc } from "../runtime/octez-rpc";
import { Recent } from "../runtime/recent";
import { Wake } from "../runtime/wake";
import { assess, type SidecarRules } from "./assess";
import type { DalNode } from "./dal-node";
import { DalWatch } from "./dal-watch";
import { HeadNotes } from "./head-notes";
import { sidecarMetrics } from "./metrics";
import { NodeLog } from "./node-log";
import { Observer } from "./observe";
import { ProtocolWatch } from "./protocol-watch";
import { SlotWatch } from "./slot-watch";

export interface SidecarOptions {
  file: BakerFile;
  pod: string;
  host: string;
  port: number;
  rpc: OctezRpc;
  /** Of the pod, where the configuration has one. */
  dal: DalNode | undefined;
  log: Log;
  clock: Clock;
  signal: AbortSignal;
  onListening?: (port: number) => void;
}

/** Polls six times in the time after which an ineligible master hands over: 1 s at the defaults. */
export const pollMsOf = (file: BakerFile): number => Math.min(1000, (file.timings.ineligibleSeconds * 1000) / 6);
export const rulesOf = (file: BakerFile): SidecarRules => ({
  chainId: file.network.chainId,
  headMaxAgeMs: file.headMaxAgeSeconds * 1000,
  headerSilenceMs: 3 * pollMsOf(file),
  connectionsSilenceMs: 15 * pollMsOf(file),
});

export async function runSidecar(options: SidecarOptions): Promise<void> {
  const { file, log, clock, rpc, signal } = options;
  const rules = rulesOf(file);
  const recent = new Recent(clock);
  const heads = new HeadNotes();
  const status = (): SidecarStatus => assess(observer.state, rules, { monotonicMs: clock.now(), wallMs: clock.wall() });
  const nodeLog = new NodeLog(log);
  const metrics = createRegistry(file.baker, options.pod);
  const onFailure = sidecarMetrics(metrics, status);
  const health = (ok: boolean, reason: string) => ({ ok, reason });
  const followed = () => (status().ready ? observer.state.head?.level : undefined);
  const dal =
    options.dal &&
    new DalWatch({ ...options, dal: options.dal, metrics, recent, pollMs: pollMsOf(file), head: followed });
  const server = await serveHttp({
    host: options.host,
    port: options.port,
    routes: {},
    live: () => (({ live, liveReason }) => health(live, liveReason))(status()),
    ready: () => (({ ready, reason }) => health(ready, reason))(status()),
    status: () => {
      const { missedAttestations, missed } = slots;
      const told = { dal: dal?.status(), protocols: protocols.status() };
      return { ...status(), missedAttestations, missedSlots: missed, ...told, recent: recent.list() };
    },
    metrics,
  });
  let level: number | undefined;
  const newHead = new Wake();
  const observer = new Observer({
    rpc,
    clock,
    pollMs: pollMsOf(file),
    podAddress: options.host,
    onNews: () => server.changed("/status"),
    onChange: (state) => {
      nodeLog.tell(status());
      const note = state.head && heads.see(state.head);
      if (note) recent.note(note.about, note.text);
      if (state.head?.level !== level) newHead.kick();
      level = state.head?.level;
    },
    onFailure,
  });
  options.onListening?.(server.port);
  log.info("listening", `${options.host}:${server.port}`);
  const slots = new SlotWatch({
    file,
    host: options.host,
    rpc,
    log,
    clock,
    recent,
    metrics,
    pollMs: pollMsOf(file),
    head: () => observer.state.head,
    newHead,
    nodeReady: () => status().ready,
  });
  const protocols = new ProtocolWatch({ ...options, pollMs: pollMsOf(file), nodeReady: () => status().ready });
  try {
    await Promise.all([protocols.run(signal), observer.run(signal), slots.run(signal), dal?.run(signal)]);
  } finally {
    rpc.close();
    await server.close();
  }
}
