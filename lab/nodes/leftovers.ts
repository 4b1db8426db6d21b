/** What is left on this machine by a process that was killed. */
import { existsSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cgroupName, cgroupRoots, removeCgroup, run } from "./shell";

/** Of the bridge, and of the veths after it. */
export const bridge = "tog";
/** Of the folders: the process' id follows. */
export const prefix = "tog-nodes-";

/**
 * What a killed process left: the bridge with its veths, loop devices, cgroups, folders. @throws Error where it
 * lives
 */
export function tidy(): void {
  for (const name of readdirSync(tmpdir()).filter((entry) => entry.startsWith(prefix))) {
    const pid = Number(name.slice(prefix.length).split("-")[0]);
    if (pid !== process.pid && existsSync(`/proc/${pid}`))
      throw new Error(`process ${pid} runs a cluster of nodes already: one at a time`);
    const folder = join(tmpdir(), name);
    for (const line of run(["losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE"]).split("\n")) {
      const [device = "", file = ""] = line.trim().split(/\s+/);
      if (file.startsWith(`${folder}/`)) run(["losetup", "--detach", device]);
    }
    rmSync(folder, { recursive: true, force: true });
  }
  for (const name of readdirSync("/sys/class/net"))
    if (name === bridge || name.startsWith(`${bridge}-`)) run(["ip", "link", "delete", name]);
  for (const hierarchy of cgroupRoots()) removeCgroup(join(hierarchy, cgroupName));
}
