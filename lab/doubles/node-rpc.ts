/** The RPCs of the node double, as octez-node 25.1 answers them (recordings in __tests__/fixtures/wire/octez-25.1). */
import type { IncomingMessage, ServerResponse } from "node:http";
import { decodeBase58 } from "../../tezos/base58";
import type { Block } from "../chain/blocks";
import type { ChainOptions } from "../chain/chain";
import { dalParameters } from "../chain/dal";
import { activationDelay, activeKey, pendingKeys, type KeyKind, type RegisteredKey } from "../chain/keys";
import { attests, cycleOf, expectsCommitment, ourSlot, proposer, roundStartMs } from "../chain/rights";
import { answer, lab } from "./common";
import { shellHeader, type NodeView } from "./node-view";

/** Status and body of an answer; undefined has no body. */
interface Reply {
  status: number;
  body?: unknown;
  /** The body is a sentence, not JSON; "bare": without saying so. */
  plain?: true | "bare";
}
const ok = (body: unknown): Reply => ({ status: 200, body });
const missing: Reply = { status: 404 };
const unparsed = (after: string, why: string): Reply => ({
  status: 400,
  plain: true,
  body: `Failed to parsed an argument in path. After "${after}", the value "${why}`,
});
const failure = (kind: "permanent" | "temporary", id: string, more: object = {}): Reply => ({
  status: 500,
  body: [{ kind, id, ...more }],
});
const protocolError = (id: string, more: object = {}): Reply => failure("permanent", `proto.025-PsUshuai.${id}`, more);

interface Question {
  parameters: ChainOptions;
  head: Block;
  block: Block;
  query: URLSearchParams;
}

const rightsError = (name: string, text: string): Reply => ({
  status: 400,
  plain: true,
  body: `Failed to parse the query string: Failed to parse argument '${name}' ("${text}"): failed to decode Base58Check`,
});
const isAddress = (text: string): boolean => /^tz[1-4]$/.test(decodeBase58(text)?.kind ?? "");

function constants({ parameters }: Question): Reply {
  const seconds = (ms: number) => String(ms % 1000 === 0 ? ms / 1000 : Math.max(1, Math.round(ms / 1000)));
  return ok({
    blocks_per_cycle: parameters.blocksPerCycle,
    blocks_per_commitment: parameters.blocksPerCommitment,
    nonce_revelation_threshold: parameters.revelationBlocks,
    minimal_block_delay: seconds(parameters.blockMs),
    delay_increment_per_round: seconds(parameters.blockMs / 2),
    consensus_rights_delay: 2,
    consensus_committee_size: 7000,
    consensus_key_activation_delay: activationDelay,
    aggregate_attestation: true,
    dal_parametric: {
      ...{ feature_enable: true, number_of_slots: dalParameters.numberOfSlots },
      ...{ attestation_lag: dalParameters.attestationLag, attestation_lags: [dalParameters.attestationLag] },
    },
  });
}

function currentLevel({ parameters, block, query }: Question): Reply {
  const offset = Number(query.get("offset") ?? "0");
  if (offset < 0) return protocolError("negative_level_offset");
  const level = block.level + offset;
  const { cycle, position } = cycleOf(parameters, level);
  return ok({
    ...{ level, level_position: level - 1, cycle, cycle_position: position },
    expected_commitment: expectsCommitment(parameters, level),
  });
}

/** Levels that a question about rights is about, or the answer that there are none. */
function levelsOf({ parameters, block, query }: Question): number[] | Reply {
  const numbers = (name: string) => query.getAll(name).map(Number);
  const delegate = query.getAll("delegate").find((text) => !isAddress(text));
  if (delegate !== undefined) return rightsError("delegate", delegate);
  const present = cycleOf(parameters, block.level).cycle;
  const [oldest, latest] = [Math.max(0, present - 1), present + 2];
  const unknown = numbers("cycle").find((cycle) => cycle < oldest || cycle > latest);
  if (unknown !== undefined) return protocolError("seed.unknown_seed", { oldest, requested: unknown, latest });
  if (query.has("level")) return numbers("level");
  const { blocksPerCycle: per } = parameters;
  if (query.has("cycle"))
    return numbers("cycle").flatMap((cycle) => Array.from({ length: per }, (_, i) => cycle * per + 1 + i));
  return [block.level + 1];
}
/** What has been is not estimated. */
function estimate({ parameters, block }: Question, level: number, round: number): { estimated_time?: string } {
  if (level <= block.level) return {};
  const { blockMs } = parameters;
  const atMs = roundStartMs(blockMs, block, 0) + (level - block.level - 1) * blockMs + round * blockMs * 1.5;
  return { estimated_time: new Date(atMs).toISOString().replace(/\.\d+Z$/, "Z") };
}
const isWanted = ({ query }: Question, delegate: string): boolean =>
  !query.has("delegate") || query.getAll("delegate").includes(delegate);

function bakingRights(question: Question): Reply {
  const { parameters, query } = question;
  const levels = levelsOf(question);
  if (!Array.isArray(levels)) return levels;
  const rounds = Number(query.get("max_round") ?? "64") + 1;
  const rights = levels.flatMap((level) => {
    const seen = new Set<string>();
    return Array.from({ length: rounds }, (_, round) => {
      const name = proposer(parameters, level, round);
      const ours = name === "ours";
      const key = ours ? activeKey(parameters, "consensus", level)?.address : name;
      const delegate = ours ? parameters.delegate : name;
      return { level, delegate, round, ...estimate(question, level, round), consensus_key: key };
    }).filter(
      ({ delegate }) => isWanted(question, delegate) && (query.has("all") || !seen.has(delegate)) && seen.add(delegate),
    );
  });
  return ok(rights);
}

/** Our delegate's part of a level's committee. */
function committee({ parameters, ...question }: Question, level: number) {
  const { delegate } = parameters;
  const ours = isWanted({ parameters, ...question }, delegate) && attests(parameters, level);
  return ours ? [{ delegate, consensus_key: activeKey(parameters, "consensus", level)?.address }] : [];
}
/** `context/delegates/<delegate>/consensus_key` and `companion_key`: an empty list is left out, and so is no key. */
function registeredKeys({ parameters, block }: Question, kind: KeyKind, delegate: string): Reply {
  if (delegate !== parameters.delegate)
    return failure("temporary", "proto.025-PsUshuai.delegate.not_registered", { pkh: delegate });
  const shown = ({ address, publicKey }: RegisteredKey) => ({ pkh: address, pk: publicKey });
  const active = activeKey(parameters, kind, block.level);
  const pendings = pendingKeys(parameters, kind, block.level);
  return ok({
    ...(active ? { active: shown(active) } : {}),
    ...(pendings.length > 0 ? { pendings: pendings.map((key) => ({ cycle: key.cycle, ...shown(key) })) } : {}),
  });
}
function attestationRights(question: Question): Reply {
  const levels = levelsOf(question);
  if (!Array.isArray(levels)) return levels;
  const rights = levels.map((level) => ({
    level,
    delegates: committee(question, level).map((right) => ({ ...right, first_slot: ourSlot, attesting_power: 500 })),
    ...estimate(question, level, 0),
  }));
  return ok(rights.filter(({ delegates }) => delegates.length > 0));
}
function companion({ parameters }: Question, level: number): { companion_key?: string } {
  const key = activeKey(parameters, "companion", level);
  return key ? { companion_key: key.address } : {};
}
function validators(question: Question): Reply {
  const levels = levelsOf(question);
  if (!Array.isArray(levels)) return levels;
  return ok(
    levels.map((level) => ({
      ...{ level, consensus_threshold: "4667", consensus_committee: "7000", all_bakers_attest_activated: false },
      delegates: committee(question, level).map((right) => ({
        ...right,
        ...companion(question, level),
        ...{ rounds: [ourSlot], attesting_power: "500", attestation_slot: ourSlot },
      })),
    })),
  );
}

/** A voting period of the simulated chain, in cycles: as in a sandbox. */
const cyclesPerVotingPeriod = 8;
/** As RPCs of the sandbox are: of the block, whose own place in the period is `position`. */
function votingPeriod({ parameters, block }: Question): Reply {
  const blocks = cyclesPerVotingPeriod * parameters.blocksPerCycle;
  const index = Math.floor((block.level - 1) / blocks);
  const position = (block.level - 1) % blocks;
  const kind = parameters.amendment?.period ?? "proposal";
  return ok({
    voting_period: { index, kind, start_position: index * blocks },
    ...{ position, remaining: blocks - position - 1 },
  });
}

const belowBlock: Readonly<Record<string, (question: Question) => Reply>> = {
  header: ({ block }) => ok({ ...block.header, hash: block.hash }),
  hash: ({ block }) => ok(block.hash),
  "context/constants": constants,
  protocols: ({ parameters: { protocol } }) => ok({ protocol, next_protocol: protocol }),
  "votes/current_period": votingPeriod,
  "votes/current_proposal": ({ parameters }) => ok(parameters.amendment?.hash ?? null),
  // The chain keeps no anonymous operations: revelations are told by `context/nonces`.
  "operations/2": () => ok([]),
  "helpers/current_level": currentLevel,
  "helpers/baking_rights": bakingRights,
  "helpers/attestation_rights": attestationRights,
  "helpers/validators": validators,
};

export class NodeRpc {
  constructor(private readonly view: NodeView) {}

  async serve(request: IncomingMessage, response: ServerResponse, url: URL, body: string): Promise<void> {
    const reply = await this.reply(request, response, url, body);
    if (!reply || response.headersSent) return;
    if (reply.body === undefined) response.writeHead(reply.status).end();
    else if (reply.plain)
      response
        .writeHead(reply.status, reply.plain === "bare" ? {} : { "content-type": "text/plain" })
        .end(String(reply.body));
    else answer(response, reply.body, reply.status);
  }

  /** Undefined where the answer is a stream that has begun. */
  private async reply(
    { method = "GET", headers }: IncomingMessage,
    response: ServerResponse,
    url: URL,
    body: string,
  ): Promise<Reply | undefined> {
    const { head, parameters } = this.view;
    if (!/\*\/\*|application\/(\*|json)/.test(headers.accept ?? "*/*"))
      return { status: 406, plain: "bare", body: "application/json, application/bson, application/octet-stream" };
    if (method === "POST") return this.inject(url.pathname, body);
    const about = this.aboutNode(url.pathname);
    if (about) return about;
    if (!parameters || !head) return { status: 503, body: [{ kind: "temporary", id: "node.not_ready" }] };
    if (this.stream(response, url.pathname, head)) return undefined;
    return this.aboutChain({ parameters, head, block: head, query: url.searchParams }, url.pathname);
  }

  private aboutNode(path: string): Reply | undefined {
    const network = { chain_name: "TEZOS_SHADOWNET", distributed_db_version: 2, p2p_version: 1 };
    if (path === "/health/ready") return ok({ ready: true });
    if (path === "/version")
      return ok({
        version: { major: 25, minor: 1, build: 0, additional_info: "release" },
        network_version: network,
        commit_info: { commit_hash: "00000000", commit_date: "2026-07-01 00:00:00 +0000" },
      });
    if (path !== "/network/connections") return undefined;
    return ok(
      Array.from({ length: this.view.peers }, (_, i) => ({
        ...{ incoming: false, peer_id: `id${i}`, id_point: { addr: `::ffff:10.0.0.${i + 1}`, port: 9732 } },
        ...{ remote_socket_port: 9732, announced_version: network, private: false },
      })),
    );
  }

  private stream(response: ServerResponse, path: string, head: Block): boolean {
    const { view } = this;
    if (path === "/monitor/heads/main") view.stream(response, view.heads, [shellHeader(head)]);
    else if (path === "/chains/main/mempool/monitor_operations")
      view.stream(response, view.operations, [view.consensus]);
    else if (path === "/monitor/bootstrapped") {
      response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify({ block: head.hash, timestamp: head.header.timestamp }) + "\n");
    } else return false;
    return true;
  }

  private async aboutChain(question: Question, path: string): Promise<Reply> {
    const { parameters, head } = question;
    if (path === "/lab/dal") return ok(await this.view.ask(`dal?pod=${lab.pod}&level=${head.level}`));
    if (path === "/lab/head") return ok({ ...head, header: undefined, blockMs: parameters.blockMs });
    const [, chain, below = ""] = /^\/chains\/([^/]+)\/(.+)$/.exec(path) ?? [];
    if (chain === undefined) return missing;
    if (chain !== "main" && chain !== parameters.chainId)
      return unparsed(`chains/${chain}`, 'Cannot parse chain identifier." is not acceptable for type "chain_id"');
    if (below === "chain_id") return ok(parameters.chainId);
    if (below === "is_bootstrapped") {
      const young = Date.now() - head.atMs < 25 * parameters.blockMs;
      const state = young ? "synced" : this.view.peers > 0 ? "stuck" : "unsynced";
      return ok({ bootstrapped: true, sync_state: state });
    }
    const [, encoded = "", rest] = /^blocks\/([^/]+)\/(.+)$/.exec(below) ?? [];
    if (rest === undefined) return missing;
    const id = decodeURIComponent(encoded);
    if (!/^(head|genesis|\d+|B\w{50})([~-]\d+)?$/.test(id) || (id.startsWith("B") && !decodeBase58(id.slice(0, 51))))
      return unparsed(`chains/main/blocks/${id}`, `Cannot parse block identifier: ${id}" is not acceptable`);
    const block = this.view.block(id);
    return block ? this.aboutBlock({ ...question, block }, rest) : missing;
  }

  private async aboutBlock(question: Question, path: string): Promise<Reply> {
    const rule = Object.hasOwn(belowBlock, path) ? belowBlock[path] : undefined;
    if (rule) return rule(question);
    const [, level] = /^context\/nonces\/(\d+)$/.exec(path) ?? [];
    if (level === "0") return failure("temporary", "failure", { msg: "Assertion failed" });
    if (level !== undefined) return ok(await this.view.ask(`nonce?level=${level}`));
    const [, delegate, what = ""] =
      /^context\/delegates\/(\w+)\/((?:dal_)?participation|(?:consensus|companion)_key)$/.exec(path) ?? [];
    if (delegate === undefined) return missing;
    if (!isAddress(delegate))
      return unparsed(`chains/main/blocks/head/context/delegates/${delegate}`, "failed to decode");
    if (what.endsWith("_key"))
      return registeredKeys(question, what === "consensus_key" ? "consensus" : "companion", delegate);
    return ok(await this.view.ask(`${what.replace("_", "-")}?level=${question.block.level}`));
  }

  private async inject(path: string, body: string): Promise<Reply> {
    const kind = { "/injection/block": "block", "/injection/operation": "operation" }[path];
    if (kind === undefined) return path.startsWith("/chains/") ? { status: 405 } : missing;
    const given = JSON.parse(body) as string | { data: string };
    const data = typeof given === "string" ? given : given.data;
    const result = await this.view.inject({ kind, data });
    if (result.error === undefined) return ok(result.hash);
    return failure(kind === "block" ? "permanent" : "temporary", "failure", { msg: result.error });
  }
}
