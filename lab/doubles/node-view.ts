/** What a node double knows of the chain, from its only peer: the simulated chain, over a link that can be cut. */
import { Agent, get, request, type ServerResponse } from "node:http";
import type { Block } from "../chain/blocks";
import type { ChainOptions } from "../chain/chain";
import { lab, lines, sleep, splitAddress } from "./common";

/** A header as `/monitor/heads` shows it: without what the protocol decodes. */
export function shellHeader({ hash, header }: Block): Record<string, unknown> {
  const { level, proto, predecessor, timestamp, validation_pass, operations_hash, fitness, context } = header;
  return { hash, level, proto, predecessor, timestamp, validation_pass, operations_hash, fitness, context };
}

export class NodeView {
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
    for (const response of this.heads) response.write(JSON.stringify(shellHeader(block)) + "\n");
    // The mempool of a head ends with it; whoever follows asks again.
    for (const response of this.operations) response.end();
    this.operations.clear();
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

  /** @param question path and query of the chain's own server */
  ask(question: string): Promise<unknown> {
    return new Promise((resolve, reject) => {
      get(`http://${lab.chain}/${question}`, { agent: this.agent, timeout: 3000 }, (reply) => {
        let text = "";
        reply.on("data", (chunk: Buffer) => (text += chunk.toString()));
        reply.on("end", () => resolve(JSON.parse(text) as unknown));
      }).on("error", reject);
    });
  }

  stream(response: ServerResponse, set: Set<ServerResponse>, first: unknown[]): void {
    response.writeHead(200, { "content-type": "application/json" });
    for (const value of first) response.write(JSON.stringify(value) + "\n");
    set.add(response);
    response.on("close", () => set.delete(response));
  }
}
