/**
 * Double of `octez-node`: `config init`, `snapshot import`, `run`. Its only peer is the simulated chain, over a
 * connection that can be cut.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fail, lab, octezSignals, openTrace, parseArguments, serve, sleep, splitAddress, tryLock } from "./common";
import { cmdlinerError, cmdlinerUsage, log } from "./octez-output";
import { NodeRpc } from "./node-rpc";
import { NodeView } from "./node-view";

const program = "octez-node";
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
  "--expected-pow": "value",
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

function parse(command: string, argv: readonly string[], options: Record<string, "flag" | "value">) {
  try {
    return parseArguments(argv, { options, aliases: { "-d": "--data-dir" } });
  } catch (error) {
    return cmdlinerUsage(program, command, (error as Error).message);
  }
}
const one = (options: Map<string, string[]>, name: string): string =>
  options.get(name)?.at(-1) ?? fail(program, 1, `${name} is required`);

/** What a configuration file says; octez-node runs without one, too, with what is usual. */
const configOf = (folder: string, network: string, options: Map<string, string[]>): NodeConfig => ({
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
});

function configInit(argv: readonly string[]): void {
  const { options, words } = parse("config init", argv, networkOptions);
  if (words.length > 0)
    cmdlinerUsage(program, "config init", `too many arguments, don't know what to do with '${words.join("', '")}'.`);
  const folder = one(options, "--data-dir");
  const file = join(folder, "config.json");
  if (existsSync(file)) cmdlinerError(program, `Pre-existing configuration file at ${file}, use \`reset\`.`);
  const network = one(options, "--network");
  if (!["mainnet", "shadownet", "ghostnet", "sandbox"].includes(network))
    cmdlinerUsage(program, "config init", `unknown network '${network}'`);
  const config = configOf(folder, network, options);
  mkdirSync(folder, { recursive: true });
  writeFileSync(file, JSON.stringify(config, null, 2));
}

function snapshotImport(argv: readonly string[]): void {
  const { options, words } = parse("snapshot import", argv, {
    ...common,
    "--block": "value",
    "--no-check": "flag",
    "--reconstruct": "flag",
  });
  const [file] = words;
  if (file === undefined || words.length > 1)
    cmdlinerUsage(program, "snapshot import", "snapshot import needs one file");
  const folder = one(options, "--data-dir");
  if (existsSync(join(folder, "store"))) fail(program, 1, `${folder} is not empty`);
  const snapshot = JSON.parse(readFileSync(file, "utf8")) as { block: string };
  const wanted = options.get("--block")?.[0];
  if (wanted !== undefined && wanted !== snapshot.block)
    fail(program, 1, `the snapshot's block is ${snapshot.block}, not ${wanted}`);
  mkdirSync(join(folder, "store"), { recursive: true });
  mkdirSync(join(folder, "context"), { recursive: true });
}

function identify(folder: string): void {
  const path = join(folder, "identity.json");
  if (existsSync(path)) return log("NOTICE", "read identity file");
  log("NOTICE", "generating an identity file");
  const id = `id${process.pid}`;
  writeFileSync(path, JSON.stringify({ peer_id: id }));
  process.stderr.write(`Stored the new identity (${id}) into '${path}'.\n`);
  log("NOTICE", "identity file generated");
}

async function run(argv: readonly string[]): Promise<void> {
  const { options, words } = parse("run", argv, { ...networkOptions, "--sandbox": "value" });
  if (words.length > 0)
    cmdlinerUsage(program, "run", `too many arguments, don't know what to do with '${words.join("', '")}'.`);
  const folder = one(options, "--data-dir");
  const file = join(folder, "config.json");
  mkdirSync(folder, { recursive: true });
  const written = existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as Partial<NodeConfig>) : {};
  const config = { ...configOf(folder, "mainnet", new Map()), ...written };
  if (!tryLock(join(folder, "lock")))
    cmdlinerError(
      program,
      "Data directory is locked by another process,\ntrace:\n" +
        "Unix error in lockf: Resource temporarily unavailable\nData directory is locked by another process",
    );
  openTrace(program);
  let closers: (() => void)[] = [];
  octezSignals(program, () => closers.forEach((close) => close()));
  await sleep(lab.startMs);
  identify(folder);
  for (const sub of ["store", "context"]) mkdirSync(join(folder, sub), { recursive: true });
  const view = new NodeView();
  const rpc = new NodeRpc(view);
  closers = await Promise.all([
    ...(options.get("--rpc-addr") ?? config.rpc["listen-addrs"]).map((address) =>
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
  await view.follow();
}

export async function main(argv: readonly string[]): Promise<void> {
  const [command, sub, ...rest] = argv;
  if (command === "config" && sub === "init") return configInit(rest);
  if (command === "snapshot" && sub === "import") return snapshotImport(rest);
  if (command === "run") return run(argv.slice(1));
  cmdlinerUsage(program, "COMMAND", `unknown command '${argv.slice(0, 2).join(" ")}'.`);
}
