/** What a run on real nodes found, docs/failover/nodes.json: one section of docs/failover.md is made of it. */
import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import type { Row } from "./measure";
import { assets, runAside } from "./shell";

export interface NodesRecord {
  /** UTC. */
  date: string;
  machine: string;
  /** Program -> version. */
  versions: Record<string, string>;
  /** From the first object until both pods were ready and the leader signed. */
  readySeconds: number;
  /** Null where nobody counted. */
  signatures: number | null;
  rows: Row[];
}

async function versionsOf(): Promise<Record<string, string>> {
  const word = (text: string, pattern: RegExp): string => pattern.exec(text)?.[1] ?? "?";
  return {
    Kubernetes: word(await runAside([join(assets, "kubelet"), "--version"]), /v(\S+)/),
    containerd: word(await runAside([join(assets, "containerd"), "--version"]), /v?(\d+\.\d+\.\S+)/),
    runc: word(await runAside(["runc", "--version"]), /runc version (\S+)/),
    Linux: readFileSync("/proc/sys/kernel/osrelease", "utf8").trim(),
  };
}

export const recordOf = async (rows: Row[], readySeconds: number, signatures: number): Promise<NodesRecord> => ({
  ...{ date: new Date().toISOString().slice(0, 10), machine: `${cpus().length} cores`, versions: await versionsOf() },
  ...{ readySeconds, signatures, rows },
});
