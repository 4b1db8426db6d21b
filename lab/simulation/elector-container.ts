/** The elector's own code in a simulated pod. */
import { Elector } from "../../daemons/elector/elector";
import { followContainers } from "../../daemons/elector/follow-containers";
import type { ElectorMetrics } from "../../daemons/elector/metrics";
import type { Leadership } from "../../contract/leadership";
import type { KubeClient, Outcome } from "../../daemons/runtime/kube";
import { storyLog, type PodParts } from "./containers";
import type { Process } from "./process";

const nothing = (): void => undefined;
const silentMetrics = (acquired: () => void): ElectorMetrics => ({
  ...{ phase: nothing, released: nothing, lost: nothing, renewed: nothing, requestFailed: nothing, member: nothing },
  acquired,
});

/** Its renewals seem to have been sent when they were answered. */
function sentWhenAnswered(kube: KubeClient, process: Process): KubeClient {
  const late = <T>(outcome: Outcome<T>): Outcome<T> => ({ ...outcome, sentAtMs: process.clock.now() });
  return { ...kube, replace: (...given) => kube.replace(...given).then(late) };
}

export class ElectorContainer {
  readonly elector: Elector;
  private readonly over = new AbortController();

  /** Called in the turn of `process`. */
  constructor(
    readonly process: Process,
    private readonly parts: PodParts,
  ) {
    const { stage, ordinal, env, identity, kube, chain } = parts;
    const { timings } = stage.file;
    const { sabotage } = stage;
    const client = kube.clientOf(ordinal, process);
    // Whoever does not wait for a lease thinks that it lasts a moment.
    const hasty = { ...timings, leaseSeconds: 1 };
    this.elector = new Elector({
      ...{ env, identity, clock: process.clock, log: storyLog(parts, process) },
      file: sabotage === "no-wait-before-takeover" ? { ...stage.file, timings: hasty } : stage.file,
      kube: sabotage === "renews-from-the-answer" ? sentWhenAnswered(client, process) : client,
      metrics: silentMetrics(() => stage.counts.tenures++),
      rights: {
        bakingLevels: (levels) => Promise.resolve(levels.filter((level) => chain.isOurs({ level, round: 0 }))),
        blockSeconds: () => Promise.resolve(6),
        missedLevels: () => Promise.resolve(0),
      },
    });
    const { signal } = this.over;
    void followContainers(this.elector, {
      ...{ clock: process.clock, host: env.TOG_POD_ADDRESS, timings, signal },
      follow: (options) => parts.documents.follow(process, options),
    });
    this.elector.start();
  }

  document(): unknown {
    return this.elector.members();
  }
  /** Another container of the pod follows what this elector tells. */
  tell(to: Process, onRecord: (record: Leadership) => void): void {
    this.parts.documents.leadership({ ...this, document: () => this.document() }, to, onRecord);
  }

  /** SIGTERM, with the preStop call beside it. @param ended called when the process has ended */
  terminate(ended: () => void): void {
    const preStopMs = 1000 * this.parts.stage.file.timings.preStopSeconds;
    void this.elector.handOver(preStopMs);
    void this.elector.terminate(preStopMs).then(() => {
      this.over.abort();
      void this.elector.close().then(ended);
    });
  }
}
