/** Double of `octez-dal-node run`: waits for its node as the real one does, and answers what octez-baker asks it. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { decodeBase58 } from "../../tezos/base58";
import {
  answer,
  lab,
  octezSignals,
  openTrace,
  parseArguments,
  serve,
  sleep,
  splitAddress,
  tryLock,
  type ArgumentSpec,
} from "./common";
import { call, NodeClient } from "./node-client";
import { cmdlinerError, cmdlinerUsage, log } from "./octez-output";

const program = "octez-dal-node";
/** The options of `run`, as `--help` lists them. */
export const dalOptions: Required<ArgumentSpec> = {
  options: {
    ...{ "--attester-profiles": "value", "--ban-addr": "value", "--batching-time-interval": "value" },
    ...{ "--bootstrap-profile": "flag", "--config-file": "value", "--data-dir": "value" },
    ...{ "--disable-amplification": "flag", "--disable-shard-validation": "flag", "--endpoint": "value" },
    ...{ "--expected-pow": "value", "--fetch-trusted-setup": "value", "--history-mode": "value" },
    ...{ "--ignore-l1-config-peers": "flag", "--ignore-l1-history-check": "flag", "--ignore-topics": "value" },
    ...{ "--metrics-addr": "value", "--net-addr": "value", "--observer-profiles": "value", "--peers": "value" },
    ...{ "--producer-profiles": "value", "--operator-profiles": "value", "--public-addr": "value" },
    ...{ "--publish-slots-regularly": "value", "--rpc-addr": "value", "--service-name": "value" },
    ...{ "--service-namespace": "value", "--slots-backup-uri": "value", "--telemetry-env": "value" },
    ...{ "--trust-slots-backup-uris": "flag", "--verbose": "flag" },
  },
  aliases: {
    ...{ "-d": "--data-dir", "-E": "--endpoint", "--attester": "--attester-profiles" },
    ...{ "--bootstrap": "--bootstrap-profile", "--observer": "--observer-profiles" },
    ...{ "--producer": "--producer-profiles", "--operator": "--operator-profiles" },
    ...{ "--backup-uri": "--slots-backup-uri", "--archive-uri": "--slots-backup-uri" },
    ...{ "--trust-backup-uris": "--trust-slots-backup-uris", "--trust-archive-uris": "--trust-slots-backup-uris" },
  },
};

function parse(argv: readonly string[]): Map<string, string[]> {
  let parsed: ReturnType<typeof parseArguments>;
  try {
    parsed = parseArguments(argv, dalOptions);
  } catch (error) {
    return cmdlinerUsage(program, "run", (error as Error).message);
  }
  if (parsed.words.join(" ") !== "run") cmdlinerUsage(program, "run", `unknown command '${parsed.words.join(" ")}'.`);
  return parsed.options;
}

/** Asks the node for something until it answers: after 0.2 s, then twice as long each time. */
async function fetchFromNode(node: string, what: string, path: string): Promise<string> {
  for (let seconds = 0.2; ; seconds *= 2) {
    const reply = await call(`${node}${path}`, undefined, 5000).catch(() => undefined);
    if (reply?.status === 200) {
      log("NOTICE", `successfully fetched "${what}" from L1 node at ${node}`);
      return reply.text;
    }
    log("NOTICE", `failed to fetch "${what}" from L1 node at ${node}, retry`, `  in ${Number(seconds.toFixed(1))}s`);
    await sleep(seconds * 1000);
  }
}

/** A slot in which something was published, as Octez names it. */
export interface SlotId {
  slot_level: number;
  slot_index: number;
}
const text = (value: unknown): string => JSON.stringify(value) + "\n";

/** What it answers. At first it has no peers and a level to process. */
export class DalRpc {
  private peers = 0;
  private processed: number | undefined;
  private levelsToProcess = 1;
  /** Slots of the last levels, of which it has every shard of its attesters. */
  private slots: SlotId[] = [];
  private readonly streams = new Set<ServerResponse>();

  constructor(
    private attesters: string[],
    private readonly chainName: string,
  ) {}

  /** It has heard of its peers and of a new head, whose levels are final up to the one before the last. */
  learn(head: number, told: { peers: number; processed: number; slots: readonly SlotId[] }): void {
    const known = (slot: SlotId) => this.slots.some((old) => text(old) === text(slot));
    const news = told.slots.filter((slot) => !known(slot));
    this.peers = told.peers;
    this.processed = told.processed;
    this.levelsToProcess = head - 2 - told.processed;
    this.slots = [...told.slots];
    for (const stream of this.streams)
      for (const slot of news) stream.write(text({ kind: "attestable_slot", slot_id: slot }));
  }

  serve(request: IncomingMessage, response: ServerResponse, url: URL, body: string): void {
    if (request.method === "PATCH" && url.pathname === "/profiles") return this.register(response, body);
    const found = request.method === "GET" ? this.answerTo(url.pathname + url.search) : undefined;
    if (found === "stream") return this.stream(response);
    if (found === undefined) return void response.writeHead(404, { "transfer-encoding": "chunked" }).end();
    const answered = text(found);
    response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(answered) });
    response.end(answered);
  }

  /** Undefined where it knows no such path. */
  private answerTo(path: string): unknown {
    const answers: Readonly<Record<string, unknown>> = {
      "/health": this.health(),
      "/profiles": { kind: "controller", controller_profiles: { attesters: this.attesters } },
      "/synchronized":
        this.levelsToProcess > 0
          ? { status: "Catching_up", levels_to_process: this.levelsToProcess }
          : { status: "Synced" },
      "/version": { network_version: { chain_name: this.chainName, gossipsub: 0, p2p_version: 1 } },
      "/last_processed_level": this.processed,
      // Without a flag it would tell of those that it knows, too.
      "/p2p/points?connected": Array.from({ length: this.peers }, (_, i) => ({ point: `10.0.1.${i + 1}:11732` })),
    };
    const [, pkh] = /^\/profiles\/(\w+)\/monitor\/attestable_slots$/.exec(path) ?? [];
    if (pkh !== undefined && decodeBase58(pkh)) return "stream";
    return Object.hasOwn(answers, path) ? answers[path] : undefined;
  }

  private health(): unknown {
    if (this.peers === 0) return { status: "down", checks: [{ name: "p2p", status: "down" }] };
    const check = (name: string, status: string) => ({ name, status });
    return { status: "up", checks: [check("p2p", "up"), check("topics", "ok"), check("gossipsub", "up")] };
  }

  /** What is attestable soon, and then each slot when it has its shards. Silent while nothing is published. */
  private stream(response: ServerResponse): void {
    response.writeHead(200, { "content-type": "application/json" });
    const payload = { slot_ids: this.slots, trap_slot_ids: [], no_shards_committee_levels: [] };
    response.write(text({ kind: "backfill", backfill_payload: payload }));
    this.streams.add(response);
    response.on("close", () => this.streams.delete(response));
  }
  private register(response: ServerResponse, body: string): void {
    const asked = body.match(/tz[1-4]\w{33}/g) ?? [];
    this.attesters = [...new Set([...this.attesters, ...asked.filter((word) => decodeBase58(word))])];
    answer(response, null);
  }
}

/** Follows the heads of its node for ever. The node double tells what the DAL's peers would. */
async function followChain(node: string, rpc: DalRpc): Promise<never> {
  const client = new NodeClient(node, 5000);
  const look = async (head: number): Promise<void> => {
    const told = await client.rpc<{ processed: number; peers: number; slots: { level: number; slot: number }[] }>(
      "/lab/dal",
    );
    const slots = told.slots.map(({ level, slot }) => ({ slot_level: level, slot_index: slot }));
    rpc.learn(head, { ...told, slots });
  };
  for (;;) {
    await client.follow("/monitor/heads/main", new AbortController().signal, (value) => {
      void look((value as { level: number }).level).catch(() => undefined);
    });
    log("WARN", "[dal_node_crawler] connection to the node has been lost");
    await sleep(lab.startMs / 2 + 200);
  }
}

export async function main(argv: readonly string[]): Promise<void> {
  const options = parse(argv);
  const one = (name: string) => options.get(name)?.at(-1);
  const folder = one("--data-dir") ?? cmdlinerError(program, "--data-dir is required");
  const node = one("--endpoint") ?? "http://localhost:8732";
  mkdirSync(folder, { recursive: true });
  if (!tryLock(join(folder, "lock"))) cmdlinerError(program, `another DAL node runs in ${folder}`, 1);
  openTrace(program);
  let closers: (() => void)[] = [];
  octezSignals(program, () => {
    log("NOTICE", "stopping DAL node");
    closers.forEach((close) => close());
  });
  log("NOTICE", "configuration loaded successfully");
  const version = JSON.parse(await fetchFromNode(node, "version info", "/version")) as {
    network_version: { chain_name: string };
  };
  const network = `DAL_${version.network_version.chain_name}`;
  log("NOTICE", `starting the DAL node (network: ${network}, octez version:`, '  "25.1 (a double of the laboratory)")');
  await sleep(lab.startMs / 2);
  const attesters = (one("--attester-profiles") ?? "").split(",").filter((text) => text !== "");
  const rpc = new DalRpc(attesters, network);
  closers = await start(options, rpc);
  log("NOTICE", "the DAL node is ready");
  await followChain(node, rpc);
}

/** Metrics first: the kubelet's probe looks there. */
async function start(options: Map<string, string[]>, rpc: DalRpc): Promise<(() => void)[]> {
  const closers: (() => void)[] = [];
  for (const address of options.get("--metrics-addr") ?? []) {
    log("NOTICE", `Starting metrics service at ${address}`);
    const metrics = (response: ServerResponse) =>
      void response.writeHead(200, { "content-type": "text/plain" }).end("dal_node_up 1\n");
    closers.push(await serve(address, (_request, response) => metrics(response)));
  }
  const address = options.get("--rpc-addr")?.[0] ?? "127.0.0.1:10732";
  const { host } = splitAddress(address);
  closers.push(
    await serve(
      address,
      (request, response, url, body) => rpc.serve(request, response, url, body),
      (port) => log("NOTICE", `RPC server is listening on ${host}:${port}`),
    ),
  );
  return closers;
}
