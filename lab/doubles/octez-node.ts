/**
 * Double of `octez-node`: `config init`, `snapshot import`, `run`. Its only peer is the simulated chain, over a
 * connection that can be cut.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fail, lab, octezSignals, openTrace, parseArguments, serve, sleep, splitAddress, tryLock } from "./common";
import { NodeRpc } from "./node-rpc";
import { NodeView } from "./node-view";

const program = "octez-node";
/** cmdliner's exit code for a command line that it does not understand, and Octez' for a folder that it cannot have. */
const usageError = 124;

const common = { "--data-dir": "value", "--config-file": "value", "--network": "value" } as const;
const networkOptions = {
  ...common,
  "--history-mode": "value",
  "--rpc-addr": "value",
  "--net-addr": "value",
  "--metrics-addr": "value",
  "--peer": "value",
  "--private-mode": "flag",
  "--no-bootstrap-peers": "flag",
  "--connections": "value",
  "--advertised-net-addr": "value",
  "--allow-all-rpc": "value",
  "--synchronisation-threshold": "value",
  "--sync-latency": "value",
  "--log-output": "value",
} as const;

interface NodeConfig {
  "data-dir": string;
  network: string;
  rpc: { "listen-addrs": string[] };
  p2p: { "listen-addr": string; "private-mode"?: boolean; "bootstrap-peers"?: string[] };
  shell: { history_mode: string };
  metrics_addr: string[];
}

function parse(argv: readonly string[], options: Record<string, "flag" | "value">) {
  try {
    return parseArguments(argv, { options, aliases: { "-d": "--data-dir" } });
  } catch (error) {
    return fail(program, usageError, (error as Error).message);
  }
}
const one = (options: Map<string, string[]>, name: string): string =>
  options.get(name)?.at(-1) ?? fail(program, 1, `${name} is required`);

function configInit(argv: readonly string[]): void {
  const { options, words } = parse(argv, networkOptions);
  if (words.length > 0)
    fail(program, usageError, `too many arguments, don't know what to do with '${words.join("', '")}'`);
  const folder = one(options, "--data-dir");
  const file = join(folder, "config.json");
  if (existsSync(file)) fail(program, usageError, `Pre-existing configuration file at ${file}, use \`reset\`.`);
  const network = one(options, "--network");
  if (!["mainnet", "shadownet", "ghostnet", "sandbox"].includes(network))
    fail(program, usageError, `unknown network '${network}'`);
  const config: NodeConfig = {
    "data-dir": folder,
    network,
    rpc: { "listen-addrs": options.get("--rpc-addr") ?? ["127.0.0.1:8732"] },
    p2p: {
      "listen-addr": options.get("--net-addr")?.[0] ?? "[::]:9732",
      ...(options.has("--private-mode") ? { "private-mode": true } : {}),
      "bootstrap-peers": options.get("--peer") ?? [],
    },
    shell: { history_mode: options.get("--history-mode")?.[0] ?? "full" },
    metrics_addr: options.get("--metrics-addr") ?? [],
  };
  mkdirSync(folder, { recursive: true });
  writeFileSync(file, JSON.stringify(config, null, 2));
}

function snapshotImport(argv: readonly string[]): void {
  const { options, words } = parse(argv, {
    ...common,
    "--block": "value",
    "--no-check": "flag",
    "--reconstruct": "flag",
  });
  const [file] = words;
  if (file === undefined || words.length > 1) fail(program, usageError, "snapshot import needs one file");
  const folder = one(options, "--data-dir");
  if (existsSync(join(folder, "store"))) fail(program, 1, `${folder} is not empty`);
  const snapshot = JSON.parse(readFileSync(file, "utf8")) as { block: string };
  const wanted = options.get("--block")?.[0];
  if (wanted !== undefined && wanted !== snapshot.block)
    fail(program, 1, `the snapshot's block is ${snapshot.block}, not ${wanted}`);
  mkdirSync(join(folder, "store"), { recursive: true });
  mkdirSync(join(folder, "context"), { recursive: true });
}

async function run(argv: readonly string[]): Promise<void> {
  const { options, words } = parse(argv, networkOptions);
  if (words.length > 0)
    fail(program, usageError, `too many arguments, don't know what to do with '${words.join("', '")}'`);
  const folder = one(options, "--data-dir");
  const file = join(folder, "config.json");
  if (!existsSync(file)) fail(program, 1, `no configuration in ${folder}`);
  const config = JSON.parse(readFileSync(file, "utf8")) as NodeConfig;
  if (!tryLock(join(folder, "lock")))
    fail(program, usageError, `Failed to lock the data directory '${folder}': another node is running there`);
  openTrace(program);
  await sleep(lab.startMs);
  if (!existsSync(join(folder, "identity.json")))
    writeFileSync(join(folder, "identity.json"), JSON.stringify({ peer_id: `id${process.pid}` }));
  for (const sub of ["store", "context"]) mkdirSync(join(folder, sub), { recursive: true });
  const view = new NodeView();
  const rpc = new NodeRpc(view);
  const closers = await Promise.all([
    ...config.rpc["listen-addrs"].map((address) =>
      serve(
        address,
        (request, response, url, body) => rpc.serve(request, response, url, body),
        (port) => process.stdout.write(`starting RPC server on ${splitAddress(address).host}:${port}\n`),
      ),
    ),
    ...(options.get("--metrics-addr") ?? config.metrics_addr).map((address) =>
      serve(address, (_request, response) => {
        response.writeHead(200, { "content-type": "text/plain" });
        response.end(
          `octez_p2p_connections_active ${view.peers}\noctez_validator_chain_is_bootstrapped{chain_id="main"} 1\noctez_validator_chain_head_level{chain_id="main"} ${view.head?.level ?? 0}\n`,
        );
      }),
    ),
  ]);
  octezSignals(() => closers.forEach((close) => close()));
  await view.follow();
}

export async function main(argv: readonly string[]): Promise<void> {
  const [command, sub, ...rest] = argv;
  if (command === "config" && sub === "init") return configInit(rest);
  if (command === "snapshot" && sub === "import") return snapshotImport(rest);
  if (command === "run") return run(argv.slice(1));
  fail(program, usageError, `unknown command '${argv.slice(0, 2).join(" ")}'`);
}
