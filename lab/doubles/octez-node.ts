/**
 * Double of `octez-node`: `config init`, `snapshot import`, `run`. Its only peer is the simulated chain, over a
 * connection that can be cut.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { Agent, get, request } from "node:http";
import { join } from "node:path";
import type { ServerResponse } from "node:http";
import type { Block, ChainOptions } from "../chain/chain";
import { attests, cycleOf, expectsCommitment, ourSlot, proposer, roundStartMs } from "../chain/rights";
import {
  answer,
  fail,
  lab,
  lines,
  octezSignals,
  openTrace,
  parseArguments,
  serve,
  sleep,
  splitAddress,
  tryLock,
} from "./common";

const program = "octez-node";
/** cmdliner's exit code for a command line that it does not understand. */
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
  if (existsSync(file)) fail(program, 1, `Pre-existing configuration file at ${file}, use \`reset\`.`);
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

class Node {
  parameters: ChainOptions | undefined;
  blocks = new Map<number, Block>();
  head: Block | undefined;
  peers = 0;
  heads = new Set<ServerResponse>();
  operations = new Set<ServerResponse>();
  consensus: unknown[] = [];
  agent = new Agent({ keepAlive: true });

  /** Follows the chain for ever; a broken stream means no connections. */
  async follow(): Promise<void> {
    for (;;) {
      await new Promise<void>((resolve) => {
        const stream = get(`http://${lab.chain}/stream?pod=${lab.pod}`, (response) => {
          lines(response, (line) => this.receive(JSON.parse(line) as Record<string, unknown>));
          response.on("close", () => resolve());
          response.on("error", () => resolve());
        });
        stream.on("error", () => resolve());
      });
      this.peers = 0;
      await sleep(300);
    }
  }

  receive(message: Record<string, unknown>): void {
    if (message.hello) {
      const { parameters, peers } = message.hello as { parameters: ChainOptions; peers: number };
      this.parameters = parameters;
      this.peers = peers;
    } else if (message.block) this.accept(message.block as Block);
    else
      for (const kind of ["prequorum", "quorum"] as const) {
        const event = message[kind] as { level: number; round: number; hash: string; payloadHash: string } | undefined;
        if (!event || event.hash !== this.head?.hash) continue;
        const operation = {
          branch: this.head.header.predecessor,
          contents: [
            {
              kind: kind === "quorum" ? "attestations_aggregate" : "preattestations_aggregate",
              consensus_content: { level: event.level, round: event.round, block_payload_hash: event.payloadHash },
              committee: Array.from({ length: 6 }, (_, slot) => ({ slot })),
            },
          ],
        };
        this.consensus.push(operation);
        for (const response of this.operations) response.write(JSON.stringify([operation]) + "\n");
      }
  }

  accept(block: Block): void {
    const head = this.head;
    if (head && (block.level < head.level || (block.level === head.level && block.round <= head.round))) return;
    this.blocks.set(block.level, block);
    this.blocks.delete(block.level - 100);
    this.head = block;
    this.consensus = [];
    for (const response of this.heads) response.write(JSON.stringify(this.header(block)) + "\n");
  }

  header(block: Block): Record<string, unknown> {
    return { ...block.header, hash: block.hash };
  }
  block(id: string): Block | undefined {
    if (!this.head) return undefined;
    const back = /^head(?:[~-](\d+))?$/.exec(id);
    if (back) return this.blocks.get(this.head.level - Number(back[1] ?? 0));
    return /^\d+$/.test(id)
      ? this.blocks.get(Number(id))
      : [...this.blocks.values()].find((block) => block.hash === id);
  }

  inject(body: Record<string, unknown>): Promise<{ hash?: string; error?: string }> {
    const { host, port } = splitAddress(lab.chain);
    return new Promise((resolve, reject) => {
      const call = request(
        { host, port, path: "/inject", method: "POST", agent: this.agent, timeout: 5000 },
        (response) => {
          let text = "";
          response.on("data", (chunk: Buffer) => (text += chunk.toString()));
          response.on("end", () => resolve(JSON.parse(text) as { hash?: string; error?: string }));
          response.on("error", reject);
        },
      );
      call.on("timeout", () => call.destroy(new Error("timeout")));
      call.on("error", reject);
      call.end(JSON.stringify({ ...body, pod: lab.pod }));
    });
  }

  constants(parameters: ChainOptions): Record<string, unknown> {
    const seconds = (ms: number) => String(ms % 1000 === 0 ? ms / 1000 : Math.max(1, Math.round(ms / 1000)));
    return {
      blocks_per_cycle: parameters.blocksPerCycle,
      blocks_per_commitment: parameters.blocksPerCommitment,
      nonce_revelation_threshold: parameters.revelationBlocks,
      minimal_block_delay: seconds(parameters.blockMs),
      delay_increment_per_round: seconds(parameters.blockMs / 2),
      consensus_rights_delay: 2,
      consensus_committee_size: 7000,
      aggregate_attestation: false,
    };
  }

  /** Path below /chains/main/blocks/<id>/ */
  async blockRpc(response: ServerResponse, id: string, path: string, url: URL): Promise<void> {
    const parameters = this.parameters;
    const block = this.block(id);
    if (!parameters || !block) return answer(response, [], 404);
    const numbers = (name: string) => url.searchParams.getAll(name).map(Number);
    const estimate = (level: number, round: number) =>
      new Date(
        roundStartMs(parameters.blockMs, block, 0) +
          (level - block.level - 1) * parameters.blockMs +
          round * parameters.blockMs * 1.5,
      )
        .toISOString()
        .replace(/\.\d+Z$/, "Z");
    const owner = (name: string) => (name === "ours" ? parameters.delegate : name);
    if (path === "header") return answer(response, this.header(block));
    if (path === "hash") return answer(response, block.hash);
    if (path === "context/constants") return answer(response, this.constants(parameters));
    if (path === "helpers/current_level") {
      const level = block.level + Number(url.searchParams.get("offset") ?? "0");
      const { cycle, position } = cycleOf(parameters, level);
      return answer(response, {
        ...{ level, level_position: level - 1, cycle, cycle_position: position },
        expected_commitment: expectsCommitment(parameters, level),
      });
    }
    const levels =
      numbers("level").length > 0
        ? numbers("level")
        : numbers("cycle").length > 0
          ? this.cycleLevels(numbers("cycle"))
          : [block.level + 1];
    const delegates = url.searchParams.getAll("delegate");
    const wanted = (delegate: string) => delegates.length === 0 || delegates.includes(delegate);
    if (path === "helpers/baking_rights") {
      const rounds = Number(url.searchParams.get("max_round") ?? "64") + 1;
      const all = url.searchParams.has("all");
      const rights = levels.flatMap((level) => {
        const seen = new Set<string>();
        return Array.from({ length: rounds }, (_, round) => ({
          ...{
            level,
            delegate: owner(proposer(parameters, level, round)),
            round,
            estimated_time: estimate(level, round),
          },
          consensus_key:
            proposer(parameters, level, round) === "ours"
              ? parameters.consensusKey
              : proposer(parameters, level, round),
        })).filter((right) => wanted(right.delegate) && (all || !seen.has(right.delegate)) && seen.add(right.delegate));
      });
      return answer(response, rights);
    }
    if (path === "helpers/attestation_rights" || path === "helpers/validators") {
      const ours = { delegate: parameters.delegate, attesting_power: 500, consensus_key: parameters.consensusKey };
      const of = (level: number) => (wanted(parameters.delegate) && attests(parameters, level) ? [ours] : []);
      if (path === "helpers/validators")
        return answer(
          response,
          levels.flatMap((level) => of(level).map((right) => ({ level, ...right, slots: [ourSlot] }))),
        );
      return answer(
        response,
        levels
          .map((level) => ({
            level,
            delegates: of(level).map((right) => ({ ...right, first_slot: ourSlot })),
            estimated_time: estimate(level, 0),
          }))
          .filter((entry) => entry.delegates.length > 0),
      );
    }
    const chain = (question: string) =>
      new Promise((resolve, reject) => {
        get(`http://${lab.chain}/${question}`, { agent: this.agent, timeout: 3000 }, (reply) => {
          let text = "";
          reply.on("data", (chunk: Buffer) => (text += chunk.toString()));
          reply.on("end", () => resolve(JSON.parse(text) as unknown));
        }).on("error", reject);
      });
    const nonce = /^context\/nonces\/(\d+)$/.exec(path);
    if (nonce) return answer(response, await chain(`nonce?level=${nonce[1]}`));
    if (path === `context/delegates/${parameters.delegate}/participation`)
      return answer(response, await chain(`participation?level=${block.level}`));
    return answer(response, [], 404);
  }
  private cycleLevels(cycles: number[]): number[] {
    const per = this.parameters?.blocksPerCycle ?? 0;
    return cycles.flatMap((cycle) => Array.from({ length: per }, (_, i) => cycle * per + 1 + i));
  }

  stream(response: ServerResponse, set: Set<ServerResponse>, first: unknown[]): void {
    response.writeHead(200, { "content-type": "application/json" });
    for (const value of first) response.write(JSON.stringify(value) + "\n");
    set.add(response);
    response.on("close", () => set.delete(response));
  }

  async rpc(response: ServerResponse, method: string, url: URL, body: string): Promise<void> {
    const path = url.pathname;
    const { head, parameters } = this;
    if (path === "/version")
      return answer(response, {
        version: { product: "octez", major: 25, minor: 1, build: 0, additional_info: "release" },
        network_version: { chain_name: "TEZOS_SHADOWNET", distributed_db_version: 2, p2p_version: 1 },
        commit_info: { commit_hash: "00000000", commit_date: "2026-07-01 00:00:00 +0000" },
      });
    if (path === "/network/connections")
      return answer(
        response,
        Array.from({ length: this.peers }, (_, i) => ({
          ...{
            incoming: false,
            peer_id: `id${i}`,
            id_point: { addr: `::ffff:10.0.0.${i + 1}`, port: 9732 },
            private: false,
          },
          ...{
            remote_socket_port: 9732,
            announced_version: { chain_name: "TEZOS_SHADOWNET", distributed_db_version: 2, p2p_version: 1 },
          },
        })),
      );
    if (path === "/health/ready") return answer(response, true);
    if (!parameters || !head) return answer(response, [{ kind: "temporary", id: "node.not_ready" }], 503);
    if (path === "/lab/head") return answer(response, { ...head, header: undefined, blockMs: parameters.blockMs });
    if (path === "/chains/main/chain_id") return answer(response, parameters.chainId);
    if (path === "/chains/main/is_bootstrapped") {
      const ageMs = Date.now() - head.atMs;
      return answer(response, {
        bootstrapped: true,
        sync_state: ageMs < 25 * parameters.blockMs ? "synced" : this.peers > 0 ? "stuck" : "unsynced",
      });
    }
    if (path === "/monitor/heads/main") return this.stream(response, this.heads, [this.header(head)]);
    if (path === "/monitor/bootstrapped") {
      response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify({ block: head.hash, timestamp: head.header.timestamp }) + "\n");
      return;
    }
    if (path === "/chains/main/mempool/monitor_operations")
      return this.stream(response, this.operations, [this.consensus]);
    if (method === "POST" && path === "/injection/block") {
      const result = await this.inject({ kind: "block", data: (JSON.parse(body) as { data: string }).data });
      return result.error === undefined
        ? answer(response, result.hash)
        : answer(response, [{ kind: "permanent", id: result.error }], 500);
    }
    if (method === "POST" && path === "/injection/operation") {
      const result = await this.inject({ kind: "operation", data: JSON.parse(body) as string });
      return result.error === undefined
        ? answer(response, result.hash)
        : answer(response, [{ kind: "temporary", id: result.error }], 500);
    }
    const block = /^\/chains\/main\/blocks\/([^/]+)\/(.+)$/.exec(path);
    if (block) return this.blockRpc(response, block[1] ?? "", block[2] ?? "", url);
    return answer(response, [], 404);
  }
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
    fail(program, 1, `Failed to lock the data directory '${folder}': another node is running there`);
  openTrace(program);
  await sleep(lab.startMs);
  if (!existsSync(join(folder, "identity.json")))
    writeFileSync(join(folder, "identity.json"), JSON.stringify({ peer_id: `id${process.pid}` }));
  for (const sub of ["store", "context"]) mkdirSync(join(folder, sub), { recursive: true });
  const node = new Node();
  const closers = await Promise.all([
    ...config.rpc["listen-addrs"].map((address) =>
      serve(
        address,
        (request, response, url, body) => node.rpc(response, request.method ?? "GET", url, body),
        (port) => process.stdout.write(`starting RPC server on ${splitAddress(address).host}:${port}\n`),
      ),
    ),
    ...config.metrics_addr.map((address) =>
      serve(address, (_request, response) => {
        response.writeHead(200, { "content-type": "text/plain" });
        response.end(
          `octez_p2p_connections_active ${node.peers}\noctez_validator_chain_is_bootstrapped{chain_id="main"} 1\noctez_validator_chain_head_level{chain_id="main"} ${node.head?.level ?? 0}\n`,
        );
      }),
    ),
  ]);
  octezSignals(() => closers.forEach((close) => close()));
  await node.follow();
}

export async function main(argv: readonly string[]): Promise<void> {
  const [command, sub, ...rest] = argv;
  if (command === "config" && sub === "init") return configInit(rest);
  if (command === "snapshot" && sub === "import") return snapshotImport(rest);
  if (command === "run") return run(argv.slice(1));
  fail(program, usageError, `unknown command '${argv.slice(0, 2).join(" ")}'`);
}
