/** The synthesized pod with the predecessor's containers in the place of ours. */
import type { ContainerSpec, StackObjects, WorkloadSpec } from "./cluster/stack";

/** Same node, disk, signers and Role; elector, loop and nonce copy as the predecessor had them. */
export function predecessorStack(stack: StackObjects): StackObjects {
  const change = (workload: WorkloadSpec): WorkloadSpec => {
    if (workload.kind !== "StatefulSet") return workload;
    const kept = workload.template.containers.filter((container) =>
      ["octez-node", "sidecar", "octez-dal-node"].includes(container.name),
    );
    const ours = workload.template.containers.find((container) => container.name === "baker");
    if (!ours) throw new Error(`the StatefulSet ${workload.name} has no baker`);
    const role = (name: string): ContainerSpec => ({
      ...ours,
      name: `predecessor-${name}`,
      command: ["predecessor", name],
      args: [],
      volume_mount: [
        ...ours.volume_mount.filter((mount) => mount.name !== "kube"),
        { name: "kube", mount_path: "/var/run/tezos-on-gke/kube" },
      ],
      ...{ liveness_probe: undefined, readiness_probe: undefined, startup_probe: undefined, lifecycle: undefined },
    });
    const roles = workload.replicas > 1 ? ["elector", "loop", "exposer", "importer"] : ["loop"];
    return {
      ...workload,
      template: {
        ...workload.template,
        // Default grace of its time.
        graceSeconds: 30,
        init: workload.template.init.filter((container) => container.name !== "topology-guard"),
        containers: [...kept.map((container) => ({ ...container, lifecycle: undefined })), ...roles.map(role)],
      },
    };
  };
  return { ...stack, workloads: stack.workloads.map(change) };
}
