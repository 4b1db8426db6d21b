/**
 * Whether octez-baker must start anew because the DAL node has restarted under it: version 25.1 never opens its stream
 * of attestable slots again, and from then on attests none of them. The same where a key has come without which it was
 * started.
 */
import { ports } from "../../contract/ports";
import type { DalStatus, GateStatus, SidecarStatus } from "../../contract/status";
import type { Clock } from "../runtime/clock";
import type { DaemonConfig } from "../runtime/config";
import type { Log } from "../runtime/log";
import { type Head, quietMoment } from "../runtime/quiet-moment";
import { createRights, NextRights } from "../runtime/rights";

/** The DAL node as the sidecar sees it, under one run of octez-baker. */
export interface DalSeen extends Pick<DalStatus, "restarts" | "well"> {
  pid: number;
}

/** Pure. */
export class DalRestarts {
  private from: DalSeen | undefined;
  private sinceMs: number | undefined;

  /**
   * @param seen undefined while octez-baker does not run or may not sign
   * @returns since when it has to start anew; undefined where it need not, or the DAL node is not well yet
   */
  see(seen: DalSeen | undefined, nowMs: number): number | undefined {
    if (!seen) return undefined;
    const { from } = this;
    if (seen.pid !== from?.pid) {
      // Another run has opened a stream of its own.
      this.from = seen;
      this.sinceMs = undefined;
    } else if (seen.restarts < from.restarts) {
      // Another sidecar counts anew; what this run is owed stays.
      this.from = seen;
    } else if (seen.restarts > from.restarts) this.sinceMs ??= nowMs;
    return seen.well ? this.sinceMs : undefined;
  }
}

interface QuietRestartOptions {
  clock: Clock;
  rights: Pick<NextRights, "above" | "ask" | "blockSeconds">;
  /** How long a moment without a block of ours is waited for. */
  patienceMs: number;
  /** Ends the present run in order; another follows at once. */
  restart: (reason: string) => void;
}

export class QuietRestart {
  private readonly restarts = new DalRestarts();
  private keyCameMs: number | undefined;
  /** The first head after a restart was due. */
  private headAtFirst: Head | null = null;

  constructor(private readonly o: QuietRestartOptions) {}

  /**
   * Called again and again. @param pid of the running octez-baker @param gate undefined where the pod has none; null
   * while it is shut @param keyCame whether a key is there by now without which octez-baker was started
   */
  look(pid: number | null, sidecar: SidecarStatus, gate: GateStatus | null | undefined, keyCame = false): void {
    const { clock, rights, patienceMs, restart } = this.o;
    const { dal, head, ready } = sidecar;
    const now = clock.now();
    const running = pid !== null && gate !== null;
    const dalSinceMs = this.restarts.see(running && dal ? { pid, ...dal } : undefined, now);
    this.keyCameMs = running && keyCame ? (this.keyCameMs ?? now) : undefined;
    const dueSinceMs = dalSinceMs ?? this.keyCameMs;
    if (dueSinceMs === undefined) this.headAtFirst = null;
    if (dueSinceMs === undefined || !ready || !head) return;
    this.headAtFirst ??= head;
    rights.ask(head.level, now);
    const moment = quietMoment({
      ...{ canBake: true, nodeReady: ready, fellSilent: false, noncesMissing: 0, head },
      ...{ headAtFirst: this.headAtFirst, inFlight: gate?.inFlight ?? 0 },
      leftSeconds: (dueSinceMs + patienceMs - now) / 1000,
      rights: rights.above(head.level),
      keys: gate?.keys ?? [],
      blockSeconds: rights.blockSeconds,
    });
    if (moment.ok)
      restart(
        dalSinceMs === undefined
          ? "a key is there without which octez-baker was started"
          : "the DAL node had restarted, and octez-baker attests no slot after that",
      );
  }
}

/** Asks the pod's own node for the rights. */
export function createQuietRestart(
  { env, file }: DaemonConfig,
  o: { clock: Clock; log: Log; signal: AbortSignal; restart: QuietRestartOptions["restart"] },
): QuietRestart & { close(): void } {
  const { retrySeconds, requestTimeoutMs } = file.timings;
  const url = `http://${env.TOG_LOCAL_ADDRESS}:${ports.octezRpc}`;
  const rights = createRights({ url, clock: o.clock, delegate: file.delegate, timeoutMs: requestTimeoutMs });
  const next = new NextRights({
    ...{ rights, report: o.log, requestTimeoutMs, signal: o.signal },
    changed: () => undefined,
  });
  const quietRestart = new QuietRestart({ ...o, rights: next, patienceMs: 60_000 * retrySeconds });
  return Object.assign(quietRestart, { close: () => rights.close() });
}
