/**
 * Double of `octez-baker ... run with local node`: strict command line, high watermarks before the signer, nonces
 * before the injection, one signature at a time per key, `/authorized_keys` before each. It votes for the current head
 * when it starts in that head's round, as Octez does.
 */
import { existsSync } from "node:fs";
import { Agent, get, request } from "node:http";
import { join } from "node:path";
import { randomBytes } from "node:crypto";
import { ed25519 } from "@noble/curves/ed25519";
import { sha256 } from "@noble/hashes/sha2";
import { createBase58check } from "@scure/base";
import { decodeAddress } from "../../tezos/addresses";
import {
  encodeBlockRequest,
  encodeRevelation,
  encodeVoteRequest,
  hash32,
  nonceHash,
  toBase58,
  type BlockHeader,
  type Vote,
} from "../chain/encode";
import { roundMs, roundStartMs } from "../chain/rights";
import {
  fail,
  lab,
  lines,
  octezSignals,
  openTrace,
  parseArguments,
  readJson,
  sleep,
  withLock,
  writeJson,
  type Trace,
} from "./common";

const program = "octez-baker";
const base58check = createBase58check(sha256);

interface Options {
  clientDir: string;
  node: string;
  signer: string | undefined;
  nodeDir: string;
  names: string[];
  keepAlive: boolean;
  callTimeoutMs: number;
}

function parse(argv: readonly string[]): Options {
  const wrong = (message: string): never => fail(program, 1, `Erroneous command line: ${message}`);
  const at = argv.findIndex((word, i) => word === "run" && (argv[i + 1] === "with" || argv[i + 1] === "remotely"));
  if (at < 0) return wrong("Unrecognized command.");
  const local = argv[at + 1] === "with";
  if (local && argv.slice(at, at + 4).join(" ") !== "run with local node") return wrong("Unrecognized command.");
  try {
    const global = parseArguments(argv.slice(0, at), {
      options: {
        ...{
          "--base-dir": "value",
          "--endpoint": "value",
          "--remote-signer": "value",
          "--log-requests": "flag",
          "--chain": "value",
        },
        ...{
          "--wait": "value",
          "--password-filename": "value",
          "--protocol": "value",
          "--media-type": "value",
          "--better-errors": "flag",
        },
      },
      aliases: {
        "-d": "--base-dir",
        "-E": "--endpoint",
        "-R": "--remote-signer",
        "-l": "--log-requests",
        "-f": "--password-filename",
      },
    });
    if (global.words.length > 0) return wrong(`unexpected '${global.words.join(" ")}'`);
    const command = parseArguments(argv.slice(at + (local ? 4 : 2)), {
      options: {
        ...{
          "--liquidity-baking-toggle-vote": "value",
          "--dal-node": "value",
          "--without-dal": "flag",
          "--keep-alive": "flag",
        },
        ...{ "--remote-calls-timeout": "value", "--record-state": "flag", "--votefile": "value", "--pidfile": "value" },
        ...{
          "--minimal-fees": "value",
          "--state-recorder": "flag",
          "--pre-emptive-forge-time": "value",
          "--operations-pool": "value",
        },
        ...{ "--adaptive-issuance-vote": "value", "--dal-node-timeout-percentage": "value", "--force": "flag" },
        ...{
          "--minimal-nanotez-per-byte": "value",
          "--minimal-nanotez-per-gas-unit": "value",
          "--allow-signing-delay": "flag",
        },
      },
      aliases: {
        "--vote": "--liquidity-baking-toggle-vote",
        "-K": "--keep-alive",
        "-V": "--votefile",
        "-P": "--pidfile",
      },
    });
    const vote = command.options.get("--liquidity-baking-toggle-vote")?.[0];
    if (vote === undefined && !command.options.has("--votefile")) return wrong("Missing liquidity baking toggle vote");
    if (vote !== undefined && !["on", "off", "pass"].includes(vote))
      return wrong(`--liquidity-baking-toggle-vote is on, off or pass; got '${vote}'`);
    if (command.options.has("--dal-node") === command.options.has("--without-dal"))
      return wrong("give exactly one of --dal-node and --without-dal");
    const [nodeDir = "", ...names] = local ? command.words : ["", ...command.words];
    if (local && nodeDir === "") return wrong("run with local node needs the node's data directory");
    return {
      clientDir: global.options.get("--base-dir")?.[0] ?? wrong("the double needs -d"),
      node: global.options.get("--endpoint")?.[0] ?? "http://127.0.0.1:8732",
      signer: global.options.get("--remote-signer")?.[0],
      ...{ nodeDir, names, keepAlive: command.options.has("--keep-alive") },
      callTimeoutMs: Number(command.options.get("--remote-calls-timeout")?.[0] ?? "0") * 1000,
    };
  } catch (error) {
    return wrong((error as Error).message);
  }
}

const agent = new Agent({ keepAlive: true, maxSockets: 16 });
function call(url: string, body?: string, timeoutMs = 0): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const exchange = request(
      url,
      { agent, method: body === undefined ? "GET" : "POST", timeout: timeoutMs || undefined },
      (response) => {
        let text = "";
        response.on("data", (chunk: Buffer) => (text += chunk.toString()));
        response.on("end", () => resolve({ status: response.statusCode ?? 0, text }));
        response.on("error", reject);
      },
    );
    exchange.on("timeout", () => exchange.destroy(new Error(`timeout after ${timeoutMs} ms`)));
    exchange.on("error", reject);
    if (body !== undefined) exchange.setHeader("content-type", "application/json");
    exchange.end(body);
  });
}

type Kind = "blocks" | "preattestations" | "attestations";
type Highwatermarks = Record<Kind, { delegate: string; highwatermark: { round: number; level: number } }[]>;
export interface StatefulNonce {
  nonce: string;
  hash: string;
  block: string;
  cycle: number;
  level: number;
  round: number;
  state: "committed" | { injection_level: number };
}
interface Head {
  hash: string;
  level: number;
  round: number;
  atMs: number;
  blockMs: number;
  payloadHash: string;
}
interface Key {
  address: string;
  alias: string;
  tz4: boolean;
  /** Octez signs one after the other for each key. */
  queue: Promise<unknown>;
}

class Baker {
  private head: Head | undefined;
  private header: Record<string, unknown> = {};
  private prequorum = "";
  private quorum = "";
  private timer: NodeJS.Timeout | undefined;
  private chainId = "";
  private constants: { blocks_per_cycle: number; blocks_per_commitment: number } = {
    blocks_per_cycle: 1,
    blocks_per_commitment: 1,
  };
  private committed = new Set<string>();

  constructor(
    private readonly options: Options,
    private readonly keys: Key[],
    private readonly trace: Trace,
  ) {}

  private file(name: string): string {
    return join(this.options.clientDir, `${this.chainId.slice(0, 13)}_${name}`);
  }
  private lock<T>(action: () => T): Promise<T> {
    return withLock(join(this.options.clientDir, "wallet_lock"), action);
  }
  private async rpc<T>(path: string): Promise<T> {
    const { status, text } = await call(`${this.options.node}${path}`, undefined, this.options.callTimeoutMs);
    if (status !== 200) throw new Error(`GET ${path}: ${status}`);
    return JSON.parse(text) as T;
  }

  async run(): Promise<void> {
    this.chainId = await this.rpc<string>("/chains/main/chain_id");
    this.constants = await this.rpc("/chains/main/blocks/head/context/constants");
    await this.rpc("/monitor/bootstrapped");
    // A broken file ends Octez at its first use: at the start is soon enough for a double.
    readJson(this.file("highwatermarks"), {});
    readJson(this.file("stateful_nonces"), []);
    this.trace("ready");
    await Promise.all([
      this.follow("/monitor/heads/main", (value) => this.onHead(value as Record<string, unknown>)),
      this.follow("/chains/main/mempool/monitor_operations", (value) =>
        this.onOperations(value as { contents: Record<string, unknown>[] }[]),
      ),
    ]);
  }

  /** Follows again where the node ends the answer in order, as it does with the mempool at each head. */
  private async follow(path: string, onValue: (value: unknown) => void): Promise<void> {
    for (;;) {
      const ended = await new Promise<boolean>((resolve) => {
        get(`${this.options.node}${path}`, (response) => {
          if (response.statusCode !== 200) return resolve((response.resume(), false));
          lines(response, (line) => onValue(JSON.parse(line)));
          response.on("close", () => resolve(response.complete));
        }).on("error", () => resolve(false));
      });
      if (ended) continue;
      if (!this.options.keepAlive) fail(program, 1, `the node ended ${path}`);
      await sleep(500);
    }
  }

  private onHead(header: Record<string, unknown>): void {
    void (async () => {
      const head = await this.rpc<Head>("/lab/head");
      if (head.hash !== header.hash || head.hash === this.head?.hash) return;
      const whole = await this.rpc<Record<string, unknown>>(`/chains/main/blocks/${head.hash}/header`);
      const newLevel = head.level !== this.head?.level;
      this.head = head;
      this.header = whole;
      clearTimeout(this.timer);
      // Only in the round of the proposal: a later start waits for the next one.
      if (Date.now() < head.atMs + roundMs(head.blockMs, head.round))
        for (const key of this.keys) void this.vote("preattestation", key, head);
      if (this.prequorum === head.hash) this.attest(head);
      if (this.quorum === head.hash) this.planBlock(head);
      if (newLevel) await this.reveal(head);
    })().catch((error: unknown) => this.trace("error", { reason: String(error) }));
  }

  private onOperations(operations: { contents: Record<string, unknown>[] }[]): void {
    for (const { contents } of operations)
      for (const content of contents) {
        const of = content.consensus_content as
          { level: number; round: number; block_payload_hash: string } | undefined;
        if (!of) continue;
        void (async () => {
          const head = await this.rpc<Head>("/lab/head");
          if (head.level !== of.level || head.round !== of.round || head.payloadHash !== of.block_payload_hash) return;
          if (content.kind === "preattestations_aggregate" && this.prequorum !== head.hash) {
            this.prequorum = head.hash;
            if (this.head?.hash === head.hash) this.attest(head);
          }
          if (content.kind === "attestations_aggregate" && this.quorum !== head.hash) {
            this.quorum = head.hash;
            if (this.head?.hash === head.hash) this.planBlock(head);
          }
        })().catch((error: unknown) => this.trace("error", { reason: String(error) }));
      }
  }

  private attest(head: Head): void {
    if (Date.now() < head.atMs + roundMs(head.blockMs, head.round))
      for (const key of this.keys) void this.vote("attestation", key, head);
  }

  private async vote(kind: Vote["kind"], key: Key, head: Head): Promise<void> {
    try {
      const rights = await this.rpc<{ delegates: { consensus_key: string; delegate: string; first_slot: number }[] }[]>(
        `/chains/main/blocks/${head.hash}/helpers/attestation_rights?level=${head.level}`,
      );
      const right = rights
        .flatMap((entry) => entry.delegates)
        .find((entry) => [entry.consensus_key, entry.delegate].includes(key.address));
      if (!right) return;
      const vote: Vote = {
        ...{ kind, branch: String(this.header.predecessor), level: head.level, round: head.round },
        ...{ payloadHash: head.payloadHash, slot: right.first_slot, dal: null },
      };
      const bytes = encodeVoteRequest(this.chainId, vote);
      const signature = await this.sign(
        key,
        kind === "preattestation" ? "preattestations" : "attestations",
        head.level,
        head.round,
        bytes,
      );
      if (signature === undefined) return;
      const operation = Buffer.concat([bytes.subarray(5), signature]);
      const { status, text } = await call(
        `${this.options.node}/injection/operation?chain=main`,
        JSON.stringify(operation.toString("hex")),
        this.options.callTimeoutMs,
      );
      this.trace(status === 200 ? "injected" : "not-injected", {
        kind,
        level: head.level,
        round: head.round,
        reason: text,
      });
    } catch (error) {
      this.trace("error", { kind, level: head.level, reason: String(error) });
    }
  }

  /** Marks first, then asks the signer. Undefined where it must not or could not. */
  private sign(key: Key, kind: Kind, level: number, round: number, bytes: Buffer): Promise<Buffer | undefined> {
    const result = key.queue.then(async () => {
      const path = this.file("highwatermarks");
      const fresh = await this.lock(() => {
        const marks = readJson<Highwatermarks>(path, { blocks: [], preattestations: [], attestations: [] });
        const mark = marks[kind].find((entry) => entry.delegate === key.address)?.highwatermark;
        if (mark && (level < mark.level || (level === mark.level && round <= mark.round))) return false;
        marks[kind] = [
          ...marks[kind].filter((entry) => entry.delegate !== key.address),
          { delegate: key.address, highwatermark: { round, level } },
        ];
        writeJson(path, marks);
        return true;
      });
      if (!fresh) {
        this.trace("below-highwatermark", { kind, level, round });
        return undefined;
      }
      return this.askSigner(key, kind, level, round, bytes);
    });
    key.queue = result.catch(() => undefined);
    return result;
  }

  private async askSigner(
    key: Key,
    kind: Kind,
    level: number,
    round: number,
    bytes: Buffer,
  ): Promise<Buffer | undefined> {
    const signer = this.options.signer ?? "";
    const { callTimeoutMs } = this.options;
    for (let attempt = 0; ; attempt++) {
      const started = performance.now();
      let status = 0;
      let text = "";
      try {
        const authorized = await call(`${signer}/authorized_keys`, undefined, callTimeoutMs);
        const wanted = (JSON.parse(authorized.text) as { authorized_keys?: string[] }).authorized_keys;
        const query = wanted ? `?authentication=${this.authenticate(key.address, bytes, wanted)}` : "";
        ({ status, text } = await call(
          `${signer}/keys/${key.address}${query}`,
          JSON.stringify(bytes.toString("hex")),
          callTimeoutMs,
        ));
      } catch (error) {
        text = String(error);
      }
      if (status === 200) {
        const { signature } = JSON.parse(text) as { signature: string };
        this.trace("signed", { kind, level, round, ms: Math.round(performance.now() - started) });
        return decodeSignature(signature);
      }
      this.trace("refused", { kind, level, round, status, reason: text.slice(0, 200) });
      // Octez repeats a request on 502 only.
      if (status !== 502 || attempt >= 4) return undefined;
      await sleep(500);
    }
  }

  private authenticate(address: string, bytes: Buffer, wanted: string[]): string {
    const secrets = readJson<{ name: string; value: string }[]>(join(this.options.clientDir, "secret_keys"), []);
    const hashes = readJson<{ name: string; value: string }[]>(join(this.options.clientDir, "public_key_hashs"), []);
    const name = hashes.find((entry) => wanted.includes(entry.value))?.name;
    const secret = secrets.find((entry) => entry.name === name)?.value.replace(/^unencrypted:/, "");
    const decoded = decodeAddress(address);
    if (secret === undefined || !decoded) throw new Error("no authorized key is in the client's folder");
    const curve = { tz1: 0, tz2: 1, tz3: 2, tz4: 3 }[decoded.curve];
    const data = Buffer.concat([Buffer.from([4, 1, curve]), decoded.hash, bytes]);
    const seed = base58check.decode(secret).slice(4, 36);
    return base58check.encode(Uint8Array.from([9, 245, 205, 134, 18, ...ed25519.sign(hash32(data), seed)]));
  }

  /** Our next proposal on this head, at the begin of its round. */
  private planBlock(head: Head): void {
    void (async () => {
      const rights = await this.rpc<{ round: number; consensus_key: string; delegate: string }[]>(
        `/chains/main/blocks/${head.hash}/helpers/baking_rights?level=${head.level + 1}&max_round=16&all=true`,
      );
      const next = rights
        .map((right) => ({ ...right, at: roundStartMs(head.blockMs, head, right.round) }))
        .filter((right) => this.keys.some((key) => [right.consensus_key, right.delegate].includes(key.address)))
        .find((right) => Date.now() < right.at + roundMs(head.blockMs, right.round));
      const key = this.keys.find((entry) => [next?.consensus_key, next?.delegate].includes(entry.address));
      if (!next || !key || this.head?.hash !== head.hash) return;
      clearTimeout(this.timer);
      this.timer = setTimeout(
        () =>
          void this.bake(key, head, next.round)
            .catch((error: unknown) =>
              this.trace("error", { kind: "blocks", level: head.level + 1, reason: String(error) }),
            )
            .finally(
              () => this.head?.hash === head.hash && this.planNext(head, next.at + roundMs(head.blockMs, next.round)),
            ),
        Math.max(0, next.at - Date.now()),
      );
    })().catch((error: unknown) => this.trace("error", { reason: String(error) }));
  }
  private planNext(head: Head, atMs: number): void {
    this.timer = setTimeout(
      () => this.head?.hash === head.hash && this.planBlock(head),
      Math.max(50, atMs - Date.now()),
    );
  }

  private async bake(key: Key, head: Head, round: number): Promise<void> {
    if (this.head?.hash !== head.hash) return;
    const level = head.level + 1;
    const position = (level - 1) % this.constants.blocks_per_cycle;
    const cycle = Math.floor((level - 1) / this.constants.blocks_per_cycle);
    const commits = position % this.constants.blocks_per_commitment === this.constants.blocks_per_commitment - 1;
    const nonce = commits ? randomBytes(32).toString("hex") : null;
    const salt = randomBytes(8);
    const header: BlockHeader = {
      ...{ level, proto: Number(this.header.proto), predecessor: head.hash },
      timestamp: Math.floor(roundStartMs(head.blockMs, head, round) / 1000),
      validationPass: 4,
      operationsHash: toBase58("operationsHash", hash32("operations", salt)),
      ...{ lockedRound: null, predecessorRound: head.round, round },
      context: toBase58("context", hash32("context", String(level))),
      payloadHash: toBase58("payload", hash32("payload", salt)),
      payloadRound: round,
      proofOfWorkNonce: salt.toString("hex"),
      seedNonceHash: nonce === null ? null : nonceHash(nonce),
      votes: 2,
    };
    const bytes = encodeBlockRequest(this.chainId, header);
    const signature = await this.sign(key, "blocks", level, round, bytes);
    if (signature === undefined) return;
    const signed = Buffer.concat([bytes.subarray(5), signature]);
    const block = toBase58("block", hash32(signed));
    if (nonce !== null) {
      await this.editNonces((nonces) => [
        ...nonces,
        { nonce, hash: nonceHash(nonce), block, cycle, level, round, state: "committed" },
      ]);
      this.trace("committed", { level, hash: nonceHash(nonce) });
    }
    const { status, text } = await call(
      `${this.options.node}/injection/block?chain=main`,
      JSON.stringify({ data: signed.toString("hex"), operations: [[], [], [], []] }),
      this.options.callTimeoutMs,
    );
    this.trace(status === 200 ? "injected" : "not-injected", { kind: "block", level, round, reason: text });
  }

  /** Reads and writes both nonce files under the wallet lock; entries older than the previous cycle go. */
  private editNonces(edit: (nonces: StatefulNonce[]) => StatefulNonce[]): Promise<void> {
    return this.lock(() => {
      const before = readJson<StatefulNonce[]>(this.file("stateful_nonces"), []);
      const after = edit(before);
      if (JSON.stringify(after) === JSON.stringify(before)) return;
      const newest = Math.max(
        0,
        ...after.map((entry) => entry.cycle),
        Math.floor(((this.head?.level ?? 1) - 1) / this.constants.blocks_per_cycle),
      );
      const kept = after.filter((entry) => entry.cycle >= newest - 1);
      writeJson(this.file("stateful_nonces"), kept);
      writeJson(
        this.file("nonces"),
        kept.map(({ block, nonce }) => ({ block, nonce })),
      );
    });
  }

  /** At each new level: locks, reloads, reveals what the previous cycle committed. */
  private async reveal(head: Head): Promise<void> {
    const cycle = Math.floor((head.level - 1) / this.constants.blocks_per_cycle);
    const path = this.file("stateful_nonces");
    if (!existsSync(path)) return;
    const nonces = await this.lock(() => readJson<StatefulNonce[]>(path, []));
    const due = nonces.filter(
      (entry) => entry.cycle === cycle - 1 && entry.state === "committed" && !this.committed.has(entry.hash),
    );
    for (const entry of due) {
      const on = await this.rpc<{ hash?: string; nonce?: string }>(
        `/chains/main/blocks/head/context/nonces/${entry.level}`,
      );
      let done = on.nonce !== undefined;
      if (!done) {
        const operation = Buffer.concat([
          encodeRevelation(head.hash, entry.level, entry.nonce),
          Buffer.alloc(64),
        ]).toString("hex");
        const { status, text } = await call(
          `${this.options.node}/injection/operation?chain=main`,
          JSON.stringify(operation),
          this.options.callTimeoutMs,
        );
        done = status === 200 || text.includes("previously_revealed") || text.includes("unexpected");
        this.trace(status === 200 ? "revealed" : "not-revealed", { level: entry.level, reason: text });
      }
      if (!done) continue;
      this.committed.add(entry.hash);
      await this.editNonces((all) =>
        all.map((other) =>
          other.hash === entry.hash && other.state === "committed"
            ? { ...other, state: { injection_level: head.level } }
            : other,
        ),
      );
    }
  }
}

function decodeSignature(text: string): Buffer {
  const bytes = base58check.decode(text);
  const prefix = text.startsWith("BLsig") ? 4 : text.startsWith("sig") ? 3 : text.startsWith("p2sig") ? 4 : 5;
  return Buffer.from(bytes.slice(prefix));
}

export async function main(argv: readonly string[]): Promise<void> {
  const options = parse(argv);
  const trace = openTrace(program);
  octezSignals(() => sleep(20));
  const hashes = readJson<{ name: string; value: string }[]>(join(options.clientDir, "public_key_hashs"), []);
  const names = options.names.length > 0 ? options.names : hashes.map((entry) => entry.name);
  const keys = names.map((name): Key => {
    const address = decodeAddress(name) ? name : hashes.find((entry) => entry.name === name)?.value;
    if (address === undefined) return fail(program, 1, `no public key hash alias named ${name}`);
    return { address, alias: name, tz4: address.startsWith("tz4"), queue: Promise.resolve() };
  });
  // The declared start time: a real baker loads its protocol plugins and the context.
  await sleep(lab.startMs);
  for (const key of keys) {
    const { status, text } = await call(
      `${options.signer}/keys/${key.address}`,
      undefined,
      options.callTimeoutMs || 10_000,
    ).catch((error: unknown) => ({
      status: 0,
      text: String(error),
    }));
    if (status !== 200)
      fail(
        program,
        1,
        `Error: unable to get the public key of ${key.alias} (${key.address}) from ${options.signer}: ${status} ${text}`,
      );
  }
  const baker = new Baker(options, keys, trace);
  for (;;) {
    try {
      return await baker.run();
    } catch (error) {
      if (error instanceof SyntaxError) fail(program, 126, `unhandled exception: ${error.message}`);
      trace("error", { reason: String(error) });
      if (!options.keepAlive) fail(program, 1, String(error));
      await sleep(300);
    }
  }
}
