/** Which cluster is meant: kubeconfig and context. */
import { KubeConfig } from "@kubernetes/client-node";
import { ClusterError } from "./cluster";

export interface ClusterOptions {
  kubeconfig?: string;
  context?: string;
  namespace: string;
}
const unreachable = (text: string): ClusterError => new ClusterError("unreachable", text);

/** @throws ClusterError where the kubeconfig or the context cannot be used */
export function loadKubeconfig({ kubeconfig, context }: ClusterOptions): KubeConfig {
  const config = new KubeConfig();
  try {
    if (kubeconfig !== undefined) config.loadFromFile(kubeconfig);
    else config.loadFromDefault();
  } catch (error) {
    throw unreachable(`the kubeconfig cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (context !== undefined) {
    const names = config.getContexts().map(({ name }) => name);
    if (!names.includes(context))
      throw unreachable(
        `--context names a context of the kubeconfig (${names.join(", ") || "it has none"}); got "${context}"`,
      );
    config.setCurrentContext(context);
  }
  const server = config.getCurrentCluster()?.server;
  if (server === undefined)
    throw unreachable(
      "the kubeconfig has no current context: run the get-credentials command of the stack's outputs, or give --context",
    );
  // What the library assumes where it finds no kubeconfig at all.
  if (server === "http://localhost:8080")
    throw unreachable(
      "there is no kubeconfig: set KUBECONFIG, give --kubeconfig, or run the get-credentials command of the stack's outputs",
    );
  return config;
}
