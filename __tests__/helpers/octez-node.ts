/** A small strict server of octez-node's RPC: answers what it is told, lies as it is told, and knows no other path. */
import { createHash } from "node:crypto";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { networks } from "../../contract/networks";
import { secondsTime } from "../../daemons/runtime/kube";
import { encodeBase58 } from "../../tezos/base58";

export const testChainId = networks.shadownet.chainId;
export const blockHash = (level: number, salt = ""): string =>
  encodeBase58("blockHash", createHash("sha256").update(`${level}${salt}`).digest());

/** A header as `/monitor/heads/main` shows it. */
export const headJson = (level: number, timestampMs: number, round = 0, salt = "") => ({
  hash: blockHash(level, salt),
  level,
  proto: 25,
  predecessor: blockHash(level - 1),
  timestamp: secondsTime(timestampMs),
  validation_pass: 4,
  operations_hash: "LLoa",
  fitness: ["02", level.toString(16).padStart(8, "0"), "", "ffffffff", round.toString(16).padStart(8, "0")],
  context: "Co",
  protocol_data: "00",
});

/**
 * hang: never answers; cut: resets; huge: an endless body; drip: a body that never ends, slowly; anything else: this
 * text with status 200.
 */
export type Lie = "hang" | "cut" | "huge" | "drip" | { status?: number; text: string };

export interface TestNode {
  url: string;
  port: number;
  requests: string[];
  /** Number of open head streams. */
  readonly streams: number;
  chainId: string;
  connections: number;
  head: ReturnType<typeof headJson>;
  /** By path without query; "*" = every path. */
  lies: Map<string, Lie>;
  /** Sets the head and shows it in the streams. */
  show(level: number, timestampMs: number, options?: { salt?: string; quiet?: boolean }): void;
  /** Writes a text into the open head streams, and cuts them. */
  write(text: string): void;
  cutStreams(): void;
  stop(): Promise<void>;
}

export async function startTestNode(
  options: { host?: string; port?: number; level?: number; timestampMs: number } = { timestampMs: 0 },
): Promise<TestNode> {
  const streams = new Set<ServerResponse>();
  const json = (response: ServerResponse, value: unknown) =>
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(value));
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? "/", "http://node");
    node.requests.push(request.url ?? "");
    const lie = node.lies.get(url.pathname) ?? node.lies.get("*");
    if (lie === "hang") return;
    if (lie === "cut") return void request.socket.resetAndDestroy();
    if (lie === "huge" || lie === "drip") {
      response.writeHead(200, { "content-type": "application/json" });
      const timer = setInterval(
        () => response.write(lie === "huge" ? "[".repeat(65_536) : " "),
        lie === "huge" ? 1 : 20,
      );
      response.on("close", () => clearInterval(timer));
      return;
    }
    if (lie) return void response.writeHead(lie.status ?? 200, { "content-type": "text/html" }).end(lie.text);
    const path = url.pathname;
    if (path === "/monitor/heads/main") {
      response.writeHead(200, { "content-type": "application/json" });
      response.write(JSON.stringify(node.head) + "\n");
      streams.add(response);
      response.on("close", () => streams.delete(response));
    } else if (path === "/chains/main/blocks/head/header") json(response, { ...node.head, chain_id: node.chainId });
    else if (path === "/network/connections")
      json(
        response,
        Array.from({ length: node.connections }, (_, i) => ({
          incoming: false,
          peer_id: `id${i}`,
          id_point: { addr: "::1", port: 9732 },
        })),
      );
    else if (path === "/chains/main/chain_id") json(response, node.chainId);
    else if (path === "/chains/main/is_bootstrapped") json(response, { bootstrapped: true, sync_state: "synced" });
    else if (path === "/chains/main/blocks/head/context/constants")
      json(response, {
        blocks_per_cycle: 14400,
        blocks_per_commitment: 112,
        nonce_revelation_threshold: 400,
        minimal_block_delay: "6",
        delay_increment_per_round: "3",
        consensus_rights_delay: 2,
        extra: { ignored: true },
      });
    else if (path === "/chains/main/blocks/head/helpers/current_level") {
      const level = node.head.level + Number(url.searchParams.get("offset") ?? "0");
      json(response, { level, level_position: level - 1, cycle: 3, cycle_position: 7, expected_commitment: false });
    } else if (path === "/chains/main/blocks/head/helpers/baking_rights")
      json(
        response,
        url.searchParams.getAll("level").map((level) => ({
          level: Number(level),
          delegate: url.searchParams.get("delegate"),
          round: Number(url.searchParams.get("max_round")),
          estimated_time: node.head.timestamp,
          consensus_key: "tz4",
        })),
      );
    else if (path === "/chains/main/blocks/head/context/nonces/100") json(response, { hash: "nceUd" });
    else if (path === "/chains/main/blocks/head/context/nonces/200") json(response, { nonce: "ab".repeat(32) });
    else if (path === "/chains/main/blocks/head/context/nonces/300") json(response, {});
    else response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(options.port ?? 0, options.host ?? "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const node: TestNode = {
    url: `http://${options.host ?? "127.0.0.1"}:${port}`,
    port,
    requests: [],
    get streams() {
      return streams.size;
    },
    chainId: testChainId,
    connections: 3,
    head: headJson(options.level ?? 1000, options.timestampMs),
    lies: new Map(),
    show: (level, timestampMs, { salt = "", quiet = false } = {}) => {
      node.head = headJson(level, timestampMs, 0, salt);
      if (!quiet) node.write(JSON.stringify(node.head) + "\n");
    },
    write: (text) => {
      for (const stream of streams) stream.write(text);
    },
    cutStreams: () => {
      for (const stream of streams) stream.socket?.resetAndDestroy();
    },
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return node;
}
