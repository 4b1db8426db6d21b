/**
 * The ways to the signers and what is known of each: whether it answers, which keys it serves, and whether the last
 * signature that was asked of it failed.
 */
import * as http from "node:http";
import * as https from "node:https";
import type { LookupFunction } from "node:net";
import type { BakerFile } from "../../contract/baker-file";
import type { GateStatus } from "../../contract/status";
import type { Timings } from "../../contract/timings";
import { publicKeyHash } from "../../tezos/keys";
import type { Clock } from "../runtime/clock";
import type { Log } from "../runtime/log";
import { exchange } from "../runtime/http-exchange";
import { lastGoodAddress, type Resolve } from "./last-address";
import { field, isJsonObject, signerError, statusOf } from "./signer-answer";
import { exchangeOverTcp, type SignerExchange, type TcpExchangeOptions } from "../runtime/tcp-exchange";
import { Turns } from "../runtime/turns";

/** Which signers there are, and which of them each key has. */
export type SignersOfKeys = Pick<BakerFile, "keys" | "signers">;

/** `bySigner`: the signer itself said so, whichever way the request took. */
interface Failure {
  detail: string;
  bySigner: boolean;
  atMs: number;
  /** When the next vote may try again. */
  retryMs: number;
}
export interface Endpoint {
  signer: string;
  zone: string | null;
  url: string;
  /** Null where it is asked by Octez' protocol over TCP, each time over a connection of its own. */
  agent: http.Agent | null;
  /** Undefined before the first check. */
  answers: boolean | undefined;
  reason: string;
  /** Per address why this endpoint cannot sign for it; "" where its public key is the right one. */
  unfit: Map<string, string>;
  /** Per address why the last signature failed here. */
  failing: Map<string, Failure>;
  /** Its answer to /authorized_keys: undefined where it asks for no authentication. */
  authorized: string[] | undefined;
  checkedMs: number;
}

const isUnfit = ({ unfit }: Endpoint, address: string): boolean => (unfit.get(address) ?? "") !== "";
const otherKey = "it answers for another key";
/** Between two tries of a signer whose signature failed, in `memberRenewSeconds`. */
const retryPauses = 2;
/** How long a failed signature counts where nobody tries again: in standby no vote does. */
const failureMs = 600_000;
/**
 * Requests that a pod has at one signer over TCP at once. Russignol takes four connections and closes a fifth, and what
 * was asked over that one counts as signed: the master has two, the other pod's checks one, and the doctor one.
 */
const tcpAtOnce = 2;
/** Part of a request's time in which it waits for its turn: what is left is enough for the signer. */
const turnShare = 1 / 4;
/** What goes to one signer over TCP, by all its endpoints. `signing`: signatures that are under way or wait. */
interface TcpQueue {
  turns: Turns;
  signing: number;
}
/** Public keys asked for in one check of an endpoint: a long list makes no burst. */
const keysAtOnce = 8;

function agentFor(url: string): http.Agent | null {
  const settings = { keepAlive: true, maxFreeSockets: 8, timeout: 60_000 };
  if (url.startsWith("tcp:")) return null;
  return url.startsWith("https:") ? new https.Agent(settings) : new http.Agent(settings);
}

export interface EndpointsOptions {
  file: SignersOfKeys;
  /** This pod's zone, "" where unknown: then the ordinal turns the order of the endpoints. */
  zone: string;
  ordinal: number;
  timings: Timings;
  clock: Clock;
  log: Log;
  /** @default the names are looked up as the pod does */
  resolve?: Resolve;
}

export class Endpoints {
  private file: SignersOfKeys;
  private list: Endpoint[];
  private readonly publicKeys = new Map<string, string>();
  /** By the signer's name. */
  private readonly tcpQueues = new Map<string, TcpQueue>();
  private checking: Promise<void> | undefined;
  private readonly lookup: LookupFunction;

  constructor(
    private readonly options: EndpointsOptions,
    private readonly signal: AbortSignal,
  ) {
    this.file = options.file;
    this.lookup = lastGoodAddress(options.resolve);
    this.list = this.endpointsOf(options.file);
  }

  get all(): readonly Endpoint[] {
    return this.list;
  }

  private endpointsOf({ signers }: SignersOfKeys, known: readonly Endpoint[] = []): Endpoint[] {
    return signers.flatMap(({ name: signer, endpoints }) =>
      endpoints.map((endpoint): Endpoint => {
        const { zone } = endpoint;
        const url = endpoint.url.replace(/\/+$/, "");
        const kept = known.find((other) => other.signer === signer && other.zone === zone && other.url === url);
        if (kept) return kept;
        return {
          ...{ signer, zone, url, agent: agentFor(url), answers: undefined, reason: "not checked yet" },
          ...{ unfit: new Map(), failing: new Map(), authorized: undefined, checkedMs: -Infinity },
        };
      }),
    );
  }

  /**
   * These signers from now on. What is under way ends where it began; an endpoint that stays keeps what is known of it;
   * a new one comes after those that answer until it has answered itself.
   */
  configure(file: SignersOfKeys): void {
    const before = this.list;
    this.file = file;
    this.list = this.endpointsOf(file, before);
    for (const { agent } of before.filter((endpoint) => !this.list.includes(endpoint)))
      setTimeout(() => agent?.destroy(), this.options.timings.gateBudgetMs).unref();
    // Not the round that is under way: it does not know the new ones.
    this.checking = undefined;
    void this.check();
  }
  close(): void {
    for (const endpoint of this.list) endpoint.agent?.destroy();
  }

  /** True for a configured key. */
  serves(address: string): boolean {
    return this.file.keys.some((key) => key.address === address);
  }
  publicKey(address: string): string | undefined {
    return this.publicKeys.get(address);
  }

  /**
   * Endpoints of a key in the order in which to try them: the key's signers as listed, in each own zone first; what
   * signs before what failed last, and that before what does not answer.
   */
  candidates(address: string): Endpoint[] {
    const key = this.file.keys.find((entry) => entry.address === address);
    const ordered = (key?.signers ?? []).flatMap((name) => {
      const mine = this.list.filter((endpoint) => endpoint.signer === name);
      if (this.options.zone === "") {
        const turn = mine.length === 0 ? 0 : this.options.ordinal % mine.length;
        return [...mine.slice(turn), ...mine.slice(0, turn)];
      }
      return [
        ...mine.filter((endpoint) => endpoint.zone === this.options.zone),
        ...mine.filter((endpoint) => endpoint.zone !== this.options.zone),
      ];
    });
    const rank = (endpoint: Endpoint) => {
      if (endpoint.answers === false || isUnfit(endpoint, address)) return 3;
      if (this.isRecent(endpoint.failing.get(address))) return 2;
      return endpoint.answers === true ? 0 : 1;
    };
    return ordered.filter((endpoint) => endpoint.unfit.get(address) !== otherKey).sort((a, b) => rank(a) - rank(b));
  }

  request(
    endpoint: Endpoint,
    path: string,
    options: { method: "GET" | "POST"; timeoutMs: number; body?: string; agent?: http.Agent | false },
  ): Promise<SignerExchange> {
    const { agent, url, signer } = endpoint;
    const all = { signal: this.signal, lookup: this.lookup, ...options };
    return agent ? exchange(new URL(url + path), { agent, ...all }) : this.overTcp(signer, new URL(url + path), all);
  }

  /** Waits for its turn at the signer. */
  private async overTcp(signer: string, url: URL, options: TcpExchangeOptions): Promise<SignerExchange> {
    const { clock } = this.options;
    const { timeoutMs } = options;
    const queue = this.tcpQueue(signer);
    const signatures = options.method === "POST" ? 1 : 0;
    const startedMs = clock.now();
    queue.signing += signatures;
    try {
      const answer = await queue.turns.use(timeoutMs * turnShare, () =>
        exchangeOverTcp(url, { ...options, timeoutMs: timeoutMs - Math.floor(clock.now() - startedMs) }),
      );
      return answer ?? { ok: false, reason: "busy", detail: `it has ${tcpAtOnce} requests already`, sent: false };
    } finally {
      queue.signing -= signatures;
    }
  }
  private tcpQueue(signer: string): TcpQueue {
    const queue = this.tcpQueues.get(signer) ?? { turns: new Turns(tcpAtOnce), signing: 0 };
    this.tcpQueues.set(signer, queue);
    return queue;
  }

  /** What was asked of it did not come back, or did. */
  mark(endpoint: Endpoint, answers: boolean, reason: string): void {
    if (endpoint.answers !== answers)
      this.options.log[answers ? "info" : "warn"]("signer-health", answers ? "answers" : reason, {
        signer: endpoint.signer,
        zone: endpoint.zone,
      });
    endpoint.answers = answers;
    endpoint.reason = answers ? "" : reason;
  }

  /** Its last signature failed: it comes after the others until it signs again. */
  demote(endpoint: Endpoint, address: string, { detail, bySigner }: Pick<Failure, "detail" | "bySigner">): void {
    const atMs = this.options.clock.now();
    const retryMs = atMs + retryPauses * this.options.timings.memberRenewSeconds * 1000;
    const failure = { detail, bySigner, atMs, retryMs };
    const affected = bySigner ? this.list.filter(({ signer }) => signer === endpoint.signer) : [endpoint];
    // One that does not hold the key fails at nothing: the health checks look whether it has come.
    for (const one of affected) if (!isUnfit(one, address)) one.failing.set(address, failure);
  }
  /** True once for each pause: an answering endpoint whose signature failed a while ago. */
  mayRetry({ answers, failing }: Endpoint, address: string): boolean {
    const { clock, timings } = this.options;
    const failure = failing.get(address);
    if (answers !== true || !failure || clock.now() < failure.retryMs) return false;
    failure.retryMs = clock.now() + retryPauses * timings.memberRenewSeconds * 1000;
    return true;
  }
  private isRecent(failure: Failure | undefined): boolean {
    return failure !== undefined && this.options.clock.now() - failure.atMs < failureMs;
  }
  signed(endpoint: Endpoint, address: string): void {
    this.mark(endpoint, true, "");
    // A check of a signer over TCP does not begin beside its signatures, and what it answered still holds.
    if (endpoint.checkedMs > -Infinity) endpoint.checkedMs = this.options.clock.now();
    if (!endpoint.failing.has(address)) return;
    this.options.log.info("signer", "signs-again", { signer: endpoint.signer, zone: endpoint.zone, address });
    endpoint.failing.delete(address);
    for (const { signer, failing } of this.list)
      if (signer === endpoint.signer && failing.get(address)?.bySigner) failing.delete(address);
  }

  /**
   * Asks every endpoint for its authorized keys and, where not yet known, for the public keys; concurrent calls share
   * one round.
   */
  check(): Promise<void> {
    if (this.checking) return this.checking;
    const overHttp = this.list.filter(({ agent }) => agent !== null).map((endpoint) => [endpoint]);
    const overTcp = this.file.signers.map(({ name }) =>
      this.list.filter(({ agent, signer }) => agent === null && signer === name),
    );
    const round: Promise<void> = Promise.all([...overHttp, ...overTcp].map((row) => this.checkInTurn(row)))
      .then(() => undefined)
      .finally(() => {
        if (this.checking === round) this.checking = undefined;
      });
    return (this.checking = round);
  }

  private async checkInTurn(endpoints: readonly Endpoint[]): Promise<void> {
    for (const endpoint of endpoints) await this.checkOne(endpoint);
  }
  private async checkOne(endpoint: Endpoint): Promise<void> {
    // A signature tells as much when it comes, and is not to wait for a check.
    const isBusy = (): boolean => endpoint.agent === null && this.tcpQueue(endpoint.signer).signing > 0;
    if (isBusy()) return;
    const { clock, timings } = this.options;
    const get = { method: "GET", timeoutMs: timings.requestTimeoutMs } as const;
    const answer = await this.request(endpoint, "/authorized_keys", get);
    if (!answer.ok) return this.mark(endpoint, false, answer.detail);
    if (answer.status !== 200) return this.mark(endpoint, false, signerError(answer));
    const listed = field(answer.body, "authorized_keys");
    if (!isJsonObject(answer.body) || (listed !== undefined && !isTexts(listed)))
      return this.mark(endpoint, false, "its /authorized_keys is no object of texts");
    endpoint.authorized = listed;
    endpoint.checkedMs = clock.now();
    this.mark(endpoint, true, "");
    // Those first that were not asked for yet.
    const mine = this.file.keys.filter((key) => key.signers.includes(endpoint.signer)).map((key) => key.address);
    const asked = [...endpoint.unfit].flatMap(([address, why]) =>
      why !== "" && mine.includes(address) ? [address] : [],
    );
    for (const address of [...mine.filter((entry) => !endpoint.unfit.has(entry)), ...asked].slice(0, keysAtOnce)) {
      if (isBusy()) return;
      const key = await this.request(endpoint, `/keys/${address}`, get);
      if (key.ok) this.learnKey(endpoint, address, key);
    }
  }

  private learnKey(endpoint: Endpoint, address: string, answer: Extract<SignerExchange, { ok: true }>): void {
    const publicKey = answer.status === 200 ? field(answer.body, "public_key") : undefined;
    const hash = typeof publicKey === "string" ? publicKeyHash(publicKey) : undefined;
    if (typeof publicKey === "string" && hash === address) {
      this.publicKeys.set(address, publicKey);
      endpoint.unfit.set(address, "");
      return;
    }
    const reason = hash === undefined ? `${statusOf(answer)} without a public key` : otherKey;
    if (endpoint.unfit.get(address) !== reason)
      this.options.log.warn("signer-key", reason, { signer: endpoint.signer, zone: endpoint.zone, address });
    // At the end of the order in which they are asked.
    endpoint.unfit.delete(address);
    endpoint.unfit.set(address, reason);
  }

  /** The public key of a configured key, checked against its hash; asks the signers where it is not known yet. */
  async findPublicKey(address: string): Promise<string | undefined> {
    const known = this.publicKeys.get(address);
    if (known !== undefined) return known;
    for (const endpoint of this.candidates(address)) {
      const timeoutMs = this.options.timings.requestTimeoutMs;
      const answer = await this.request(endpoint, `/keys/${address}`, { method: "GET", timeoutMs });
      const publicKey = answer.ok && answer.status === 200 ? field(answer.body, "public_key") : undefined;
      if (typeof publicKey !== "string" || publicKeyHash(publicKey) !== address) continue;
      this.publicKeys.set(address, publicKey);
      return publicKey;
    }
    return undefined;
  }

  status(): GateStatus["signers"] {
    return this.list.map(({ signer, zone, answers, reason, failing }) => {
      const failure = [...failing.values()].find((entry) => this.isRecent(entry));
      return {
        ...{ name: signer, zone, answers: answers === true },
        reason: answers === true && failure ? `does not sign: ${failure.detail}` : reason,
      };
    });
  }
  /** Signers that have shown the public key of this address, whether they answer now or not. */
  having(address: string, list: readonly Endpoint[] = this.list): number {
    return new Set(list.flatMap(({ signer, unfit }) => (unfit.get(address) === "" ? [signer] : []))).size;
  }
  /** Of these, signers that answer by an endpoint that has shown it. */
  answeringWith(address: string): number {
    return this.having(
      address,
      this.list.filter(({ answers }) => answers === true),
    );
  }
  /** Signers with at least one endpoint that answers. */
  answering(): number {
    return new Set(this.list.filter((endpoint) => endpoint.answers === true).map((endpoint) => endpoint.signer)).size;
  }
}

const isTexts = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((entry) => typeof entry === "string");
