/** The synthesized stack for a sandbox instead of a public network: other arguments of the nodes, another chain. */
import { bakingContainers } from "../../contract/containers";
import { bakerFileSchema } from "../../contract/baker-file";
import type { ContainerSpec, StackObjects } from "../cluster/stack";
import { sandboxOptions } from "./command-lines";
import { sandboxChainId } from "./parameters";

const after = (args: readonly string[], option: string): string => {
  const value = args[args.indexOf(option) + 1];
  if (!args.includes(option) || value === undefined) throw new Error(`configure-node has no ${option}`);
  return value;
};

/** Its only peer is the rest of the network, over the pod's link to the chain, which can be cut. */
function configureNode(args: readonly string[]): string[] {
  const rpc = after(args, "--rpc-addr");
  return [
    ...[...sandboxOptions, "--rpc-addr", rpc, "--allow-all-rpc", rpc, "--synchronisation-threshold", "1"],
    ...["--private-mode", "--no-bootstrap-peers", "--peer", "$(LAB_CHAIN)"],
  ];
}
const withArguments = (init: ContainerSpec): ContainerSpec => {
  if (init.name === bakingContainers.configureNode.name) return { ...init, args: configureNode(init.args) };
  // No snapshot at first: the nodes synchronize from the first block.
  return init.name === bakingContainers.importSnapshot.name ? { ...init, args: ["", ""] } : init;
};

export function sandboxStack(stack: StackObjects): StackObjects {
  const chainOf = (text: string) => {
    const file = bakerFileSchema.parse(JSON.parse(text));
    return JSON.stringify({ ...file, network: { ...file.network, chainId: sandboxChainId } });
  };
  return {
    ...stack,
    configMaps: stack.configMaps.map((map) => {
      const text = map.data["baker.json"];
      return text === undefined ? map : { ...map, data: { ...map.data, "baker.json": chainOf(text) } };
    }),
    workloads: stack.workloads.map((workload) => ({
      ...workload,
      template: { ...workload.template, init: workload.template.init.map(withArguments) },
    })),
  };
}
