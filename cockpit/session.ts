/** One run of a command line: where its words go, which cluster and baker it is about, and its exit code. */
import { leaderLeaseName } from "../contract/names";
import { UsageError, type Cluster } from "./cluster";
import type { ClusterOptions } from "./kubeconfig";
import type { Common } from "./options";
import { completePlace } from "./place";
import { printable } from "./text";
import type { ViewOptions } from "./view";

export interface CockpitIo {
  /** @throws ClusterError where the kubeconfig cannot be used */
  connect(options: ClusterOptions): Cluster;
  out(text: string): void;
  err(text: string): void;
  /** Whether `out` is a screen that may be cleared. */
  terminal: boolean;
  /** The folder whose configuration says which cluster is meant; undefined: none does. */
  folder?: string;
}
export class NoBaker extends Error {}

/** The baker that --baker names, or the only one of the namespace. */
export async function bakerName(cluster: Cluster, common: Pick<Common, "baker">): Promise<string> {
  const names = [...new Set((await cluster.pods("baker")).map((pod) => pod.metadata.labels["baker"] ?? ""))]
    .filter((name) => name !== "")
    .sort();
  if (common.baker !== undefined) {
    // One whose pods are all gone still has its lease.
    if (names.length > 0 && !names.includes(common.baker) && !(await cluster.lease(leaderLeaseName(common.baker))))
      throw new UsageError(`--baker names one of ${names.join(", ")}; got "${common.baker}"`);
    return common.baker;
  }
  if (names.length === 1 && names[0] !== undefined) return names[0];
  if (names.length > 1) throw new UsageError(`--baker names one of ${names.join(", ")}: there are ${names.length}`);
  throw new NoBaker(`namespace ${cluster.namespace} has no baking pod: check --namespace and --context`);
}

export class Session {
  exitCode = 0;
  /** Clock and waits of what reads the cluster. */
  readonly time: ViewOptions = {
    now: () => Date.now(),
    sleep: (ms) => new Promise((done) => setTimeout(done, ms)),
  };
  constructor(private readonly io: CockpitIo) {}

  // Whatever a command prints, of the cluster's words only text gets to the terminal.
  readonly out = (text: string): void => this.io.out(printable(text, "lines"));
  readonly err = (text: string): void => this.io.err(printable(text, "lines"));
  readonly connect = async ({ context, namespace, kubeconfig }: Common): Promise<Cluster> =>
    (this.cluster = this.io.connect(
      await completePlace({ context, namespace, kubeconfig }, this.io.folder, process.env.KUBECONFIG),
    ));
  /** The one that was connected last. */
  cluster: Cluster | undefined;

  async connected(common: Common): Promise<{ cluster: Cluster; baker: string }> {
    const cluster = await this.connect(common);
    return { cluster, baker: await bakerName(cluster, common) };
  }
  /** While `action` runs, Ctrl-C and SIGTERM abort its signal; a second one ends the process. */
  async interruptible<T>(action: (interrupted: AbortSignal) => Promise<T>): Promise<T> {
    const interrupted = new AbortController();
    const interrupt = (): void => interrupted.abort();
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, interrupt);
    try {
      return await action(interrupted.signal);
    } finally {
      for (const signal of ["SIGINT", "SIGTERM"] as const) process.off(signal, interrupt);
    }
  }
  /** Whether a person looks on. */
  get terminal(): boolean {
    return this.io.terminal;
  }
  /** One JSON object, or the text for people. */
  print(json: boolean | undefined, value: unknown, text: () => string): void {
    this.out(`${json ? JSON.stringify(value) : text()}\n`);
  }
  /** Of a screen only: what is piped keeps every look. */
  clearScreen(): void {
    if (this.io.terminal) this.io.out("\u001b[2J\u001b[H");
  }
}
