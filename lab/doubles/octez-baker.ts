/**
 * Double of `octez-baker ... run with local node`: strict command line, high watermarks before the signer, nonces
 * before the injection, one signature at a time per key, `/authorized_keys` before each. The head that it finds when it
 * starts gets no vote: the first one is for the next proposal, as Octez 25.1 does.
 */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import {
  encodeBlockRequest,
  encodeVoteRequest,
  hash32,
  nonceHash,
  toBase58,
  type BlockHeader,
  type Vote,
} from "../chain/encode";
import { encodeSlots } from "../chain/dal";
import { roundMs, roundStartMs } from "../chain/rights";
import { ClientFolder } from "./client-folder";
import { fail, octezSignals, openTrace, readJson, sleep, type Trace } from "./common";
import { NodeClient } from "./node-client";
import { DalClient } from "./octez-baker-dal";
import { SeedNonces } from "./octez-baker-nonces";
import { parse, program, type Options } from "./octez-baker-options";
import { SignerClient, type Key } from "./octez-baker-signer";
import { announceKeys, migrateNonces, namedAddresses, startWith, untilNode } from "./octez-baker-start";
import { clicError, log } from "./octez-output";

interface Head {
  hash: string;
  level: number;
  round: number;
  atMs: number;
  blockMs: number;
  payloadHash: string;
}
function logInjected(
  kind: Vote["kind"],
  { alias, address }: Key,
  { level, round }: Head,
  hash: string,
  slots: readonly number[] | undefined,
): void {
  const who = `'${alias}' (${address})`;
  const at = `for level ${level}, round ${round}`;
  const operation = `  (operation hash: ${hash})`;
  if (kind === "preattestation") log("NOTICE", `injected preattestation ${at} for delegate`, `  ${who}`, operation);
  else {
    const named = slots?.length === 0 ? "attesting no DAL slots" : `attesting DAL slots ${slots?.join(", ")}`;
    const content = slots ? named : "without DAL content";
    log("NOTICE", `injected attestation (${content}) ${at}`, `  for delegate ${who}`, operation);
  }
}

/** As the RPC `helpers/validators` tells of a delegate. */
interface Validator {
  delegate: string;
  consensus_key: string;
  companion_key?: string;
  attestation_slot: number;
}
const logCompanion = (companion: string, delegate: string): void =>
  log(
    "ERROR",
    `Companion key ${companion} for delegate ${delegate} has not been provided to the baker. The baker will only be`,
    "  able to issue attestations without DAL content for this delegate, and the delegate will lose DAL rewards.",
  );

class Baker {
  private head: Head | undefined;
  private header: Record<string, unknown> = {};
  private prequorum = "";
  private quorum = "";
  private timer: NodeJS.Timeout | undefined;
  /** The head where it came as a proposal while this process ran: only such a head gets votes. */
  private proposal = "";

  private constructor(
    private readonly chainId: string,
    private readonly keys: Key[],
    private readonly node: NodeClient,
    private readonly signer: SignerClient,
    private readonly nonces: SeedNonces,
    private readonly dal: DalClient | undefined,
    private readonly trace: Trace,
  ) {}

  static async load(
    options: Options,
    keys: Key[],
    node: NodeClient,
    dal: DalClient | undefined,
    trace: Trace,
  ): Promise<Baker> {
    const chainId = await node.rpc<string>("/chains/main/chain_id");
    const constants = await node.rpc<{ blocks_per_cycle: number; blocks_per_commitment: number }>(
      "/chains/main/blocks/head/context/constants",
    );
    await node.rpc("/monitor/bootstrapped");
    const folder = new ClientFolder(options.clientDir, chainId);
    // A broken file ends Octez at its first use: at the start is soon enough for a double.
    readJson(folder.file("highwatermarks"), {});
    await migrateNonces(folder.file("stateful_nonces"), () => node.rpc("/chains/main/blocks/head/header"));
    log("NOTICE", `initializing brassaia context at ${join(options.nodeDir, "context")}`);
    trace("ready");
    const signer = new SignerClient(options, folder, trace);
    const nonces = new SeedNonces(constants, node, folder, trace);
    return new Baker(chainId, keys, node, signer, nonces, dal, trace);
  }

  /** Runs until the node is lost. */
  async run(): Promise<void> {
    const lost = new AbortController();
    let first = true;
    await Promise.race([
      this.node.follow("/monitor/heads/main", lost.signal, (value) => {
        this.onHead(value as Record<string, unknown>, first);
        first = false;
      }),
      this.node.follow("/chains/main/mempool/monitor_operations", lost.signal, (value) =>
        this.onOperations(value as { contents: Record<string, unknown>[] }[]),
      ),
    ]);
    lost.abort();
    clearTimeout(this.timer);
    this.head = undefined;
  }

  /** @param first it was there when this process began to follow */
  private onHead(header: Record<string, unknown>, first: boolean): void {
    const round = parseInt((header.fitness as string[])[4] ?? "0", 16);
    const place = `  level ${String(header.level)}, round ${round}`;
    const receivedHead = (): void => log("NOTICE", `received new head ${String(header.hash)} at`, place);
    if (first) receivedHead();
    void (async () => {
      const head = await this.node.rpc<Head>("/lab/head");
      if (head.hash !== header.hash || head.hash === this.head?.hash) return;
      const whole = await this.node.rpc<Record<string, unknown>>(`/chains/main/blocks/${head.hash}/header`);
      const newLevel = head.level !== this.head?.level;
      this.head = head;
      this.header = whole;
      clearTimeout(this.timer);
      if (!first) log("NOTICE", `received new proposal ${head.hash} at`, place);
      // Only in the round of the proposal: a later start waits for the next one.
      const votes = !first && Date.now() < head.atMs + roundMs(head.blockMs, head.round);
      if (votes) this.proposal = head.hash;
      if (!first) void (votes ? this.voteAll("preattestation", head) : Promise.resolve()).then(receivedHead);
      if (this.prequorum === head.hash) void this.attest(head);
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
            if (this.head?.hash === head.hash) void this.attest(head);
          }
          if (content.kind === "attestations_aggregate" && this.quorum !== head.hash) {
            this.quorum = head.hash;
            if (this.head?.hash === head.hash) this.planBlock(head);
          }
        })().catch((error: unknown) => this.trace("error", { reason: String(error) }));
      }
  }

  private async attest(head: Head): Promise<void> {
    await this.dal?.beforeAttestation(head.level);
    if (this.proposal === head.hash && Date.now() < head.atMs + roundMs(head.blockMs, head.round))
      await this.voteAll("attestation", head);
  }

  private async voteAll(kind: Vote["kind"], head: Head): Promise<void> {
    await this.dal?.idle();
    try {
      const levels = await this.node.rpc<{ delegates: Validator[] }[]>(
        `/chains/main/blocks/${head.hash}/helpers/validators?level=${head.level}`,
      );
      const validators = levels.flatMap(({ delegates }) => delegates);
      // The active consensus key alone counts: the delegate's own key signs nothing beside it.
      const slots = this.keys.map((key) => ({
        key,
        slot: validators.find((entry) => entry.consensus_key === key.address)?.attestation_slot,
      }));
      for (const { companion_key: companion, consensus_key, delegate } of validators)
        if (
          companion !== undefined &&
          consensus_key.startsWith("tz4") &&
          !this.knows(companion) &&
          this.knows(consensus_key)
        )
          logCompanion(companion, delegate);
      const without = slots.flatMap(({ key, slot }) =>
        slot === undefined ? [`  '${key.alias}' (${key.address})`] : [],
      );
      if (kind === "preattestation" && without.length > 0)
        log("NOTICE", `The following delegates have no attesting rights at level ${head.level}:`, ...without);
      for (const { key, slot } of slots) if (slot !== undefined) void this.vote(kind, key, head, slot);
    } catch (error) {
      this.trace("error", { kind, level: head.level, reason: String(error) });
    }
  }

  private knows(address: string): boolean {
    return this.keys.some((key) => key.address === address);
  }

  private async vote(kind: Vote["kind"], key: Key, head: Head, slot: number): Promise<void> {
    try {
      // A BLS vote names no slot; what it says of the DAL is not modelled.
      const slots = this.dal && kind === "attestation" && !key.tz4 ? this.dal.slots(key.address, head.level) : [];
      const vote: Vote = {
        ...{ kind, branch: String(this.header.predecessor), level: head.level, round: head.round },
        ...{ payloadHash: head.payloadHash, slot: key.tz4 ? null : slot },
        dal: slots.length > 0 ? encodeSlots(slots).toString("hex") : null,
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
      const { level, round } = head;
      this.trace(status === 200 ? "injected" : "not-injected", { kind, level, round, reason: text });
      if (status === 200) logInjected(kind, key, head, JSON.parse(text) as string, this.dal && slots);
    } catch (error) {
      this.trace("error", { kind, level: head.level, reason: String(error) });
    }
  }

  /** Our next proposal on this head, at the begin of its round. */
  private planBlock(head: Head): void {
    void (async () => {
      const rights = await this.node.rpc<{ round: number; consensus_key: string }[]>(
        `/chains/main/blocks/${head.hash}/helpers/baking_rights?level=${head.level + 1}&max_round=16&all=true`,
      );
      const next = rights
        .map((right) => ({ ...right, at: roundStartMs(head.blockMs, head, right.round) }))
        .filter((right) => this.knows(right.consensus_key))
        .find((right) => Date.now() < right.at + roundMs(head.blockMs, right.round));
      const key = this.keys.find((entry) => entry.address === next?.consensus_key);
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
    await this.dal?.idle();
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
  const addresses = namedAddresses(options);
  const trace = openTrace(program);
  octezSignals(program, () => {
    log("NOTICE", "stopping baker daemon");
    return sleep(20);
  });
  log("NOTICE", "starting baker daemon");
  await untilNode(options);
  const node = new NodeClient(options.node, options.callTimeoutMs);
  const keys = await startWith(options, addresses, node);
  const dal = options.dalNode === undefined ? undefined : new DalClient(options.dalNode, addresses);
  void dal?.start();
  for (;;) {
    announceKeys(keys);
    try {
      await (await Baker.load(options, keys, node, dal, trace)).run();
      log("NOTICE", `agnostic daemon lost stream connection with node ${options.node}`);
    } catch (error) {
      if (error instanceof SyntaxError) fail(program, 126, `unhandled exception: ${error.message}`);
      trace("error", { reason: String(error) });
    }
    if (!options.keepAlive) clicError("Lost connection with the node");
    process.stderr.write("Lost connection with the node. Retrying to establish connection...\n");
    await untilNode(options);
    log("NOTICE", `agnostic daemon managed to reconnect to node ${options.node}`);
  }
}
