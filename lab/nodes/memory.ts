/**
 * More memory than a container may have: the kernel's OOM killer ends the largest of its processes. With control
 * groups of version 2 the kubelet lets it end the whole container instead.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { NodesCluster } from "./cluster";
import { cgroups } from "./shell";
import { until } from "./wait";

const mebibyte = 2 ** 20;
/** The memory of a container: its control group of version 1 or 2. */
class MemoryGroup {
  private constructor(
    readonly folder: string,
    private readonly files: { limit: string; used: string; kills: string; kept: readonly string[] },
  ) {}
  static of(pid: number): MemoryGroup {
    const lines = readFileSync(`/proc/${pid}/cgroup`, "utf8").split("\n");
    const path = (pattern: RegExp) => lines.map((line) => pattern.exec(line)?.[1]).find((found) => found !== undefined);
    const first = path(/^\d+:memory:(.*)$/);
    return first === undefined
      ? new MemoryGroup(join(cgroups, path(/^0::(.*)$/) ?? ""), {
          ...{ limit: "memory.max", used: "memory.current", kills: "memory.events", kept: ["anon", "shmem"] },
        })
      : new MemoryGroup(join(cgroups, "memory", first), {
          ...{ limit: "memory.limit_in_bytes", used: "memory.usage_in_bytes", kills: "memory.oom_control" },
          kept: ["total_rss", "total_shmem"],
        });
  }
  private read(file: string): string {
    return readFileSync(join(this.folder, file), "utf8");
  }
  private word(file: string, name: string): number {
    return Number(new RegExp(`^${name} (\\d+)$`, "m").exec(this.read(file))?.[1]);
  }
  get limit(): number {
    return Number(this.read(this.files.limit));
  }
  set limit(bytes: number) {
    writeFileSync(join(this.folder, this.files.limit), String(bytes));
  }
  get used(): number {
    return Number(this.read(this.files.used));
  }
  /** What the kernel cannot take back: the rest is cache. */
  get kept(): number {
    return this.files.kept.reduce((sum, name) => sum + this.word("memory.stat", name), 0);
  }
  /** How many processes the OOM killer has ended. */
  get kills(): number {
    return this.word(this.files.kills, "oom_kill");
  }
}

/** What runs in a container: process -> the name of its daemon or program. */
function running(cluster: NodesCluster, pod: string, container: string): Map<number, string> {
  const names = new Map<number, string>();
  for (const pid of cluster.processes(pod, container))
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
      names.set(pid, words.find((word) => /^(octez-[a-z]+|signing-gate|baker-supervisor)$/.test(word)) ?? "");
    } catch {
      // It has just ended.
    }
  return names;
}
const seconds = (since: number): number => Math.round((performance.now() - since) / 100) / 10;

/**
 * A small process fills the container's memory to 4 MiB above its limit. @param room MiB above
 * what it uses now, to which the limit is lowered until then; by default it stays as it is
 * @returns what tells how that ended
 */
export async function exceedMemory(
  cluster: NodesCluster,
  pod: string,
  container: string,
  room?: number,
): Promise<() => Promise<string>> {
  const before = running(cluster, pod, container);
  const id = () =>
    cluster.bakingPods.find(({ name }) => name === pod)?.containers.find((c) => c.name === container)?.id;
  const [group, machine, oldId] = [MemoryGroup.of([...before.keys()][0] ?? 0), cluster.machineOf(pod), id()];
  const { limit, kills } = group;
  if (room !== undefined) group.limit = group.used + room * mebibyte;
  const amount = Math.ceil((group.limit - group.kept) / mebibyte) + 4;
  // What it writes is the group's memory and not its own, so that it is not the largest process.
  const fill = `echo 0 >"$1"/cgroup.procs; exec dd if=/dev/zero of=/run/filler bs=1M count=${amount}`;
  const began = performance.now();
  await machine.execAside(["sh", "-ec", fill, "fill", group.folder]);
  const gone = () =>
    [...before].flatMap(([pid, name]) => (name === "" || running(cluster, pod, container).has(pid) ? [] : [name]));
  try {
    await until("the OOM killer has ended a process", () => group.kills > kills && gone().length > 0, 10_000);
  } finally {
    machine.exec(["rm", "/run/filler"]);
    if (room !== undefined) group.limit = limit;
  }
  const names = gone();
  const back = () => {
    const now = [...running(cluster, pod, container)].filter(([pid]) => !before.has(pid)).map(([, name]) => name);
    return names.every((name) => now.includes(name));
  };
  return async () => {
    await until(`${names.join(", ")} runs again`, back, 60_000);
    const where = id() === oldId ? "in the same container" : "in a new container of the kubelet's";
    return `the kernel ended ${names.join(", ")}, which ran again ${where} after ${seconds(began)} s at most`;
  };
}
