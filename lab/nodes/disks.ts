/**
 * Disks on loop devices with a real ext4, lost+found included: the kubelet makes the file system and mounts it, as
 * it does for a cloud's disk.
 */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { run } from "./shell";

export const storageClass = "loop-disks";

export interface Disk {
  device: string;
  file: string;
}
export function makeDisk(folder: string, name: string, mebibytes: number): Disk {
  const file = join(folder, `${name}.disk`);
  run(["truncate", "-s", `${mebibytes}M`, file]);
  return { file, device: run(["losetup", "--find", "--show", file]).trim() };
}
export function removeDisk({ device, file }: Disk): void {
  run(["losetup", "--detach", device]);
  rmSync(file, { force: true });
}

/**
 * StorageClass, and a PersistentVolume for each disk: zonal ones on the machine of their zone, one for either
 * machine, which is kept for its claim: a pod of the other kind with it could be placed in the wrong zone.
 */
export function storageObjects(
  disks: readonly {
    name: string;
    disk: Disk;
    machines: readonly string[];
    claim?: { namespace: string; name: string };
  }[],
): object[] {
  return [
    {
      apiVersion: "storage.k8s.io/v1",
      kind: "StorageClass",
      metadata: { name: storageClass },
      provisioner: "kubernetes.io/no-provisioner",
      volumeBindingMode: "WaitForFirstConsumer",
    },
    ...disks.map(({ name, disk, machines, claim }) => ({
      apiVersion: "v1",
      kind: "PersistentVolume",
      metadata: { name },
      spec: {
        capacity: { storage: "20Gi" },
        accessModes: ["ReadWriteOnce"],
        persistentVolumeReclaimPolicy: "Retain",
        storageClassName: storageClass,
        ...(claim ? { claimRef: claim } : {}),
        local: { path: disk.device, fsType: "ext4" },
        nodeAffinity: {
          required: {
            nodeSelectorTerms: [
              { matchExpressions: [{ key: "kubernetes.io/hostname", operator: "In", values: [...machines] }] },
            ],
          },
        },
      },
    })),
  ];
}
