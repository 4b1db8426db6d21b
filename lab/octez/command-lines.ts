/** The command lines that the sandbox runs besides those of the pods. */

/** A DAL node asks its node for ten cycles. */
export const historyMode = "rolling:20";
/** Nobody else is in this network: an identity costs no work, and one peer is enough to be in step with. */
export const sandboxOptions = ["--network", "sandbox", "--history-mode", historyMode, "--expected-pow", "0"] as const;

export const nodeConfig = (folder: string, at: { rpc: string; p2p: string }): string[] => [
  ...["config", "init", "--data-dir", folder, ...sandboxOptions, "--no-bootstrap-peers"],
  ...["--synchronisation-threshold", "0", "--rpc-addr", at.rpc, "--allow-all-rpc", at.rpc, "--net-addr", at.p2p],
];
export const nodeRun = (folder: string): string[] => ["run", "--data-dir", folder];
/** @param block hash */
export const snapshotExport = (folder: string, block: string, file: string): string[] => [
  ...["snapshot", "export", file, "--data-dir", folder, "--block", block, "--rolling"],
];

export interface Client {
  /** Its base directory. */
  folder: string;
  /** URL of the node's RPC. */
  node: string;
}
const client = ({ folder, node }: Client): string[] => ["-d", folder, "-E", node];

export const importKey = (of: Client, alias: string, secret: string): string[] => [
  ...[...client(of), "import", "secret", "key", alias, `unencrypted:${secret}`],
];
export const activate = (of: Client, protocol: string, parameters: string): string[] => [
  ...[...client(of), "activate", "protocol", protocol, "with", "fitness", "1"],
  ...["and", "key", "activator", "and", "parameters", parameters],
];
/**
 * The delegate and the key by their aliases; the client makes the proof of possession of a tz4 key. It waits until the
 * operation is in a block: a mempool takes one of a manager at a time.
 */
export const setKey = (of: Client, kind: "consensus" | "companion", delegate: string, key: string): string[] => [
  ...[...client(of), "set", kind, "key", "for", delegate, "to", key],
];
export const bakerRun = (of: Client, nodeFolder: string, aliases: readonly string[]): string[] => [
  ...[...client(of), "run", "with", "local", "node", nodeFolder, ...aliases],
  ...["--liquidity-baking-toggle-vote", "pass", "--without-dal", "--keep-alive"],
];
export const accuserRun = (of: Client): string[] => [...client(of), "run", "--keep-alive"];
