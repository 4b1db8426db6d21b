/** The file system of a container, as folders of this machine. */
import { mkdirSync, rmSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import type { ContainerSpec } from "./stack";

export class Mounts {
  /** The most special first. */
  private readonly mounts: { path: string; folder: string }[];

  /** @param folder of the pod; @param volumes folders of those that do not end with the pod */
  constructor(
    private readonly spec: ContainerSpec,
    private readonly folder: string,
    volumes: Readonly<Record<string, string>>,
  ) {
    this.mounts = spec.volume_mount
      .map((mount) => {
        const volume = volumes[mount.name] ?? join(folder, "volumes", mount.name);
        const own = mount.sub_path ? join(volume, mount.sub_path) : volume;
        mkdirSync(own, { recursive: true });
        return { path: mount.mount_path, folder: own };
      })
      .sort((a, b) => b.path.length - a.path.length);
  }

  /** A path below a mount on this machine; any other text as it is. */
  map(text: string): string {
    for (const { path, folder } of this.mounts)
      if (text === path || text.startsWith(`${path}/`)) return folder + text.slice(path.length);
    return text;
  }

  /** A path that is not mounted is one of the container's own empty root; what is mounted below it is linked there. */
  place(path: string): string {
    const mapped = this.map(path);
    if (!path.startsWith("/") || mapped !== path) return mapped;
    const root = join(this.folder, "root", this.spec.name);
    for (const mount of this.mounts.filter((one) => one.path.startsWith(`${path}/`))) {
      const link = join(root, mount.path);
      mkdirSync(dirname(link), { recursive: true });
      rmSync(link, { force: true });
      symlinkSync(mount.folder, link);
    }
    return join(root, path);
  }
}
