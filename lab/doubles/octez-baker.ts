/**
 * Double of `octez-baker ... run with local node`: strict command line, high watermarks before the signer, nonces
 * before the injection, one signature at a time per key, `/authorized_keys` before each. It votes for the current head
 * when it starts in that head's round, as Octez does.
 */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { decodeAddress } from "../../tezos/addresses";
import {
  encodeBlockRequest,
  encodeVoteRequest,
  hash32,
  nonceHash,
  toBase58,
  type BlockHeader,
  type Vote,
} from "../chain/encode";
import { roundMs, roundStartMs } from "../chain/rights";
import { ClientFolder } from "./client-folder";
import { fail, lab, octezSignals, openTrace, readJson, sleep, type Trace } from "./common";
import { call, NodeClient } from "./node-client";
import { SeedNonces } from "./octez-baker-nonces";
import { parse, program, type Options } from "./octez-baker-options";
import { SignerClient, type Key } from "./octez-baker-signer";

interface Head {
  hash: string;
  level: number;
  round: number;
  atMs: number;
  blockMs: number;
  payloadHash: string;
}
class Baker {
  private head: Head | undefined;
  private header: Record<string, unknown> = {};
  private prequorum = "";
  private quorum = "";
  private timer: NodeJS.Timeout | undefined;

  private constructor(
    private readonly chainId: string,
    private readonly keys: Key[],
    private readonly keepAlive: boolean,
    private readonly node: NodeClient,
    private readonly signer: SignerClient,
    private readonly nonces: SeedNonces,
    private readonly trace: Trace,
  ) {}

  static async load(options: Options, keys: Key[], node: NodeClient, trace: Trace): Promise<Baker> {
    const chainId = await node.rpc<string>("/chains/main/chain_id");
    const constants = await node.rpc<{ blocks_per_cycle: number; blocks_per_commitment: number }>(
      "/chains/main/blocks/head/context/constants",
    );
    await node.rpc("/monitor/bootstrapped");
    const folder = new ClientFolder(options.clientDir, chainId);
    // A broken file ends Octez at its first use: at the start is soon enough for a double.
    readJson(folder.file("highwatermarks"), {});
    readJson(folder.file("stateful_nonces"), []);
    trace("ready");
    const signer = new SignerClient(options, folder, trace);
    const nonces = new SeedNonces(constants, node, folder, trace);
    return new Baker(chainId, keys, options.keepAlive, node, signer, nonces, trace);
  }

  async run(): Promise<void> {
    const follow = (path: string, onValue: (value: unknown) => void) =>
      this.node.follow(path, onValue, () => {
        if (!this.keepAlive) fail(program, 1, `the node ended ${path}`);
      });
    await Promise.all([
      follow("/monitor/heads/main", (value) => this.onHead(value as Record<string, unknown>)),
      follow("/chains/main/mempool/monitor_operations", (value) =>
        this.onOperations(value as { contents: Record<string, unknown>[] }[]),
      ),
    ]);
  }

  private onHead(header: Record<string, unknown>): void {
    void (async () => {
      const head = await this.node.rpc<Head>("/lab/head");
      if (head.hash !== header.hash || head.hash === this.head?.hash) return;
      const whole = await this.node.rpc<Record<string, unknown>>(`/chains/main/blocks/${head.hash}/header`);
      const newLevel = head.level !== this.head?.level;
      this.head = head;
      this.header = whole;
      clearTimeout(this.timer);
      // Only in the round of the proposal: a later start waits for the next one.
      if (Date.now() < head.atMs + roundMs(head.blockMs, head.round))
        for (const key of this.keys) void this.vote("preattestation", key, head);
      if (this.prequorum === head.hash) this.attest(head);
      if (this.quorum === head.hash) this.planBlock(head);
      if (newLevel) await this.nonces.reveal(head);
    })().catch((error: unknown) => this.trace("error", { reason: String(error) }));
  }

  private onOperations(operations: { contents: Record<string, unknown>[] }[]): void {
    for (const { contents } of operations)
      for (const content of contents) {
        const of = content.consensus_content as
          { level: number; round: number; block_payload_hash: string } | undefined;
        if (!of) continue;
        void (async () => {
          const head = await this.node.rpc<Head>("/lab/head");
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
      const rights = await this.node.rpc<
        { delegates: { consensus_key: string; delegate: string; first_slot: number }[] }[]
      >(`/chains/main/blocks/${head.hash}/helpers/attestation_rights?level=${head.level}`);
      const right = rights
        .flatMap((entry) => entry.delegates)
        .find((entry) => [entry.consensus_key, entry.delegate].includes(key.address));
      if (!right) return;
      const vote: Vote = {
        ...{ kind, branch: String(this.header.predecessor), level: head.level, round: head.round },
        ...{ payloadHash: head.payloadHash, slot: right.first_slot, dal: null },
      };
      const bytes = encodeVoteRequest(this.chainId, vote);
      const signature = await this.signer.sign(
        key,
        kind === "preattestation" ? "preattestations" : "attestations",
        head.level,
        head.round,
        bytes,
      );
      if (signature === undefined) return;
      const operation = Buffer.concat([bytes.subarray(5), signature]);
      const { status, text } = await this.node.inject("operation", operation.toString("hex"));
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

  /** Our next proposal on this head, at the begin of its round. */
  private planBlock(head: Head): void {
    void (async () => {
      const rights = await this.node.rpc<{ round: number; consensus_key: string; delegate: string }[]>(
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
    const nonce = this.nonces.forBlock(level);
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
    const signature = await this.signer.sign(key, "blocks", level, round, bytes);
    if (signature === undefined) return;
    const signed = Buffer.concat([bytes.subarray(5), signature]);
    const block = toBase58("block", hash32(signed));
    if (nonce !== null) await this.nonces.commit(nonce, { block, level, round });
    const { status, text } = await this.node.inject("block", {
      data: signed.toString("hex"),
      operations: [[], [], [], []],
    });
    this.trace(status === 200 ? "injected" : "not-injected", { kind: "block", level, round, reason: text });
  }
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
  const node = new NodeClient(options.node, options.callTimeoutMs);
  for (;;) {
    try {
      return await (await Baker.load(options, keys, node, trace)).run();
    } catch (error) {
      if (error instanceof SyntaxError) fail(program, 126, `unhandled exception: ${error.message}`);
      trace("error", { reason: String(error) });
      if (!options.keepAlive) fail(program, 1, String(error));
      await sleep(300);
    }
  }
}
