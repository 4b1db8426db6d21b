/**
 * The signers behind the gate: octez-signer's HTTP protocol, several ways to each, own zone first.
 *
 * Guarantees: the bytes that are sent are the bytes that came; every attempt ends by its deadline; a request that must
 * not be signed twice (S7) goes to one signer over a connection of its own, and to another only where the first cannot
 * have got it; a signature is handed on only if it has the shape of the key's curve and, but for BLS (25 ms a check),
 * verifies with the public key.
 */
import { setMaxListeners } from "node:events";
import * as http from "node:http";
import * as https from "node:https";
import type { BakerFile } from "../../contract/baker-file";
import type { Timings } from "../../contract/timings";
import { decodeSignature, publicKeyHash, verifySignature } from "../../tezos/keys";
import { sleep, untilBeat, type Clock } from "../runtime/clock";
import type { Log } from "../runtime/log";
import type { SignAttempt, SignOutcome } from "./gate-options";
import { exchange } from "./http-client";

interface Endpoint {
  signer: string;
  zone: string | null;
  url: string;
  agent: http.Agent;
  /** Undefined before the first check. */
  answers: boolean | undefined;
  reason: string;
  /** Per address why this endpoint cannot sign for it; "" where its public key is the right one. */
  unfit: Map<string, string>;
  /** Its answer to /authorized_keys: undefined where it asks for no authentication. */
  authorized: string[] | undefined;
  checkedMs: number;
}

/** Which signers there are, and which of them each key has. */
export type SignersOfKeys = Pick<BakerFile, "keys" | "signers">;

export interface UpstreamOptions {
  file: SignersOfKeys;
  /** This pod's zone, "" where unknown: then the ordinal turns the order of the endpoints. */
  zone: string;
  ordinal: number;
  podAddress: string;
  timings: Timings;
  clock: Clock;
  log: Log;
  onAttempt?: (signer: string, result: string, ms: number) => void;
}

const otherKey = "it answers for another key";
/** Answers of a signer that read the request and did not sign. */
const refusals: readonly number[] = [400, 401, 403, 404, 405, 409, 413];

const json = (text: string): unknown => {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
};
const field = (text: string, name: string): unknown => {
  const value = json(text);
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>)[name] : undefined;
};

/** `known`: endpoints that are kept where they are still wanted. */
const endpointsOf = ({ signers }: SignersOfKeys, known: readonly Endpoint[]): Endpoint[] =>
  signers.flatMap(({ name: signer, endpoints }) =>
    endpoints.map((endpoint) => {
      const { zone } = endpoint;
      const url = endpoint.url.replace(/\/+$/, "");
      const kept = known.find((other) => other.signer === signer && other.zone === zone && other.url === url);
      if (kept) return kept;
      const settings = { keepAlive: true, maxFreeSockets: 8, timeout: 60_000 };
      return {
        signer,
        zone,
        url,
        agent: url.startsWith("https:") ? new https.Agent(settings) : new http.Agent(settings),
        answers: undefined,
        reason: "not checked yet",
        unfit: new Map<string, string>(),
        authorized: undefined,
        checkedMs: -Infinity,
      };
    }),
  );

export class Upstream {
  private file: SignersOfKeys;
  private endpoints: Endpoint[];
  private readonly publicKeys = new Map<string, string>();
  private readonly stop = new AbortController();
  private checking: Promise<void> | undefined;

  constructor(private readonly options: UpstreamOptions) {
    setMaxListeners(0, this.stop.signal);
    this.file = options.file;
    this.endpoints = endpointsOf(options.file, []);
  }

  /**
   * These signers from now on. What is under way ends where it began; an endpoint that stays keeps what is known of it;
   * a new one comes after those that answer until it has answered itself.
   */
  configure(file: SignersOfKeys): void {
    const before = this.endpoints;
    this.file = file;
    this.endpoints = endpointsOf(file, before);
    for (const { agent } of before.filter((endpoint) => !this.endpoints.includes(endpoint)))
      setTimeout(() => agent.destroy(), this.options.timings.gateBudgetMs).unref();
    // Not the round that is under way: it does not know the new ones.
    this.checking = undefined;
    void this.check();
  }

  /**
   * Endpoints of a key in the order in which to try them: the key's signers as listed, in each own zone first; what
   * answers before what does not.
   */
  private candidates(address: string): Endpoint[] {
    const key = this.file.keys.find((entry) => entry.address === address);
    const ordered = (key?.signers ?? []).flatMap((name) => {
      const mine = this.endpoints.filter((endpoint) => endpoint.signer === name);
      if (this.options.zone === "") {
        const turn = mine.length === 0 ? 0 : this.options.ordinal % mine.length;
        return [...mine.slice(turn), ...mine.slice(0, turn)];
      }
      return [
        ...mine.filter((endpoint) => endpoint.zone === this.options.zone),
        ...mine.filter((endpoint) => endpoint.zone !== this.options.zone),
      ];
    });
    const rank = ({ answers, unfit }: Endpoint) =>
      answers === false || (unfit.get(address) ?? "") !== "" ? 2 : answers === true ? 0 : 1;
    return ordered.filter((endpoint) => endpoint.unfit.get(address) !== otherKey).sort((a, b) => rank(a) - rank(b));
  }

  private url(endpoint: Endpoint, path: string, query = ""): URL {
    return new URL(endpoint.url + path + query);
  }

  async sign(attempt: SignAttempt): Promise<SignOutcome> {
    const { clock, timings, log } = this.options;
    const body = JSON.stringify(Buffer.from(attempt.bytes).toString("hex"));
    let last: SignOutcome = {
      ok: false,
      reason: "no-signer",
      detail: "no signer is configured for this key",
      mayHaveSigned: false,
    };
    let mayHaveSigned = false;
    let refused = 0;
    // Two rounds: a tunnel that was being replaced answers at the second.
    const candidates = this.candidates(attempt.address);
    for (const [i, endpoint] of [...candidates, ...candidates].entries()) {
      if (mayHaveSigned && !attempt.repeatable) break;
      if (refused === candidates.length) break;
      if (i === candidates.length)
        await sleep(Math.min(100, Math.max(0, attempt.deadlineMs - clock.now())), this.stop.signal);
      const remaining = attempt.deadlineMs - clock.now();
      if (remaining <= 0) break;
      const startedMs = clock.now();
      const answer = await exchange(this.url(endpoint, `/keys/${attempt.address}`, attempt.query), {
        method: "POST",
        body,
        timeoutMs: Math.min(timings.signerTimeoutMs, remaining),
        agent: attempt.repeatable ? endpoint.agent : false,
        signal: this.stop.signal,
      });
      const verdict = this.judge(attempt, answer);
      this.options.onAttempt?.(endpoint.signer, verdict.ok ? "signed" : verdict.reason, clock.now() - startedMs);
      if (verdict.ok) return { ...verdict, signer: endpoint.signer };
      if (verdict.reason === "signer-refused") refused++;
      mayHaveSigned ||= verdict.mayHaveSigned;
      last = { ...verdict, mayHaveSigned };
      if (!answer.ok) this.mark(endpoint, false, answer.detail);
      log.warn("signer", verdict.reason, {
        signer: endpoint.signer,
        zone: endpoint.zone,
        address: attempt.address,
        detail: verdict.detail,
      });
    }
    return last;
  }

  private judge(
    attempt: SignAttempt,
    answer: Awaited<ReturnType<typeof exchange>>,
  ): { ok: true; signature: string } | { ok: false; reason: string; detail: string; mayHaveSigned: boolean } {
    if (!answer.ok)
      return { ok: false, reason: `signer-${answer.reason}`, detail: answer.detail, mayHaveSigned: answer.sent };
    if (refusals.includes(answer.status))
      return { ok: false, reason: "signer-refused", detail: `HTTP ${answer.status}`, mayHaveSigned: false };
    if (answer.status !== 200)
      return { ok: false, reason: "signer-error", detail: `HTTP ${answer.status}`, mayHaveSigned: true };
    const signature = field(answer.body, "signature");
    const publicKey = this.publicKeys.get(attempt.address);
    const verifiable = publicKey !== undefined && !attempt.address.startsWith("tz4");
    if (
      typeof signature === "string" &&
      verifiable &&
      verifySignature(publicKey, attempt.bytes, signature, attempt.digest)
    )
      return { ok: true, signature };
    if (typeof signature !== "string" || !decodeSignature(attempt.address, signature))
      return {
        ok: false,
        reason: "signer-garbage",
        detail: "the answer holds no signature of the key's curve",
        mayHaveSigned: true,
      };
    if (verifiable)
      return {
        ok: false,
        reason: "signer-wrong-signature",
        detail: "the signature does not verify with the public key",
        mayHaveSigned: true,
      };
    return { ok: true, signature };
  }

  private mark(endpoint: Endpoint, answers: boolean, reason: string): void {
    if (endpoint.answers !== answers)
      this.options.log[answers ? "info" : "warn"]("signer-health", answers ? "answers" : reason, {
        signer: endpoint.signer,
        zone: endpoint.zone,
      });
    endpoint.answers = answers;
    endpoint.reason = answers ? "" : reason;
  }

  /**
   * Asks every endpoint for its authorized keys and, where not yet known, for the public keys; concurrent calls share
   * one round.
   */
  check(): Promise<void> {
    if (this.checking) return this.checking;
    const round: Promise<void> = Promise.all(this.endpoints.map((endpoint) => this.checkOne(endpoint)))
      .then(() => undefined)
      .finally(() => {
        if (this.checking === round) this.checking = undefined;
      });
    return (this.checking = round);
  }

  private async checkOne(endpoint: Endpoint): Promise<void> {
    const { clock, timings } = this.options;
    const get = (path: string) =>
      exchange(this.url(endpoint, path), {
        method: "GET",
        timeoutMs: timings.requestTimeoutMs,
        agent: endpoint.agent,
        signal: this.stop.signal,
      });
    const answer = await get("/authorized_keys");
    if (!answer.ok || answer.status !== 200)
      return this.mark(endpoint, false, answer.ok ? `HTTP ${answer.status}` : answer.detail);
    const listed = field(answer.body, "authorized_keys");
    const value = json(answer.body);
    if (typeof value !== "object" || value === null || (listed !== undefined && !isTexts(listed)))
      return this.mark(endpoint, false, "its /authorized_keys is no object of texts");
    endpoint.authorized = listed as string[] | undefined;
    endpoint.checkedMs = clock.now();
    this.mark(endpoint, true, "");
    // A few keys a round that are not known to be served here, those first that were not asked for yet: a long list
    // makes no burst.
    const mine = this.file.keys.filter((key) => key.signers.includes(endpoint.signer)).map((key) => key.address);
    const asked = [...endpoint.unfit].flatMap(([address, why]) =>
      why !== "" && mine.includes(address) ? [address] : [],
    );
    for (const address of [...mine.filter((entry) => !endpoint.unfit.has(entry)), ...asked].slice(0, 8)) {
      const key = await get(`/keys/${address}`);
      const publicKey = key.ok && key.status === 200 ? field(key.body, "public_key") : undefined;
      const hash = typeof publicKey === "string" ? publicKeyHash(publicKey) : undefined;
      if (typeof publicKey === "string" && hash === address) {
        this.publicKeys.set(address, publicKey);
        endpoint.unfit.set(address, "");
      } else if (key.ok) {
        const reason = hash === undefined ? `HTTP ${key.status} without a public key` : otherKey;
        if (endpoint.unfit.get(address) !== reason)
          this.options.log.warn("signer-key", reason, { signer: endpoint.signer, zone: endpoint.zone, address });
        // At the end of the order in which they are asked.
        endpoint.unfit.delete(address);
        endpoint.unfit.set(address, reason);
      }
    }
  }

  /** True for a configured key. */
  serves(address: string): boolean {
    return this.file.keys.some((key) => key.address === address);
  }

  /** Checks every `memberRenewSeconds` until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, timings, podAddress } = this.options;
    while (!signal.aborted) {
      await this.check();
      await sleep(untilBeat(clock, timings.memberRenewSeconds * 1000, podAddress), signal);
    }
  }

  /** The public key of a configured key, checked against its hash; asks the signers where it is not known yet. */
  async publicKey(address: string): Promise<string | undefined> {
    const known = this.publicKeys.get(address);
    if (known !== undefined) return known;
    for (const endpoint of this.candidates(address)) {
      const answer = await exchange(this.url(endpoint, `/keys/${address}`), {
        method: "GET",
        timeoutMs: this.options.timings.requestTimeoutMs,
        agent: endpoint.agent,
        signal: this.stop.signal,
      });
      const publicKey = answer.ok && answer.status === 200 ? field(answer.body, "public_key") : undefined;
      if (typeof publicKey !== "string" || publicKeyHash(publicKey) !== address) continue;
      this.publicKeys.set(address, publicKey);
      return publicKey;
    }
    return undefined;
  }

  /**
   * Union of what the signers answered, `{}` where none asks for authentication; undefined where no signer answers.
   * From the last health check, so that it costs the baker nothing.
   */
  async authorizedKeys(): Promise<{ authorized_keys?: string[] } | undefined> {
    const fresh = () => {
      const since = this.options.clock.now() - 5 * this.options.timings.memberRenewSeconds * 1000;
      return this.endpoints.filter((endpoint) => endpoint.answers === true && endpoint.checkedMs >= since);
    };
    if (fresh().length === 0) await this.check();
    const answering = fresh();
    if (answering.length === 0) return undefined;
    const lists = answering.flatMap((endpoint) => endpoint.authorized ?? []);
    return answering.every((endpoint) => endpoint.authorized === undefined)
      ? {}
      : { authorized_keys: [...new Set(lists)] };
  }

  /**
   * Passes a GET to the first signer that answers 200; the last answer otherwise. `address`: only signers of this key.
   */
  async pass(path: string, query: string, address?: string): Promise<{ status: number; body: string } | undefined> {
    const order = address === undefined ? this.endpoints : this.candidates(address);
    let last: { status: number; body: string } | undefined;
    for (const endpoint of order) {
      const answer = await exchange(this.url(endpoint, path, query), {
        method: "GET",
        timeoutMs: this.options.timings.signerTimeoutMs,
        agent: endpoint.agent,
        signal: this.stop.signal,
      });
      if (!answer.ok) continue;
      last = { status: answer.status, body: answer.body };
      if (answer.status === 200) break;
    }
    return last;
  }

  status(): { name: string; zone: string | null; answers: boolean; reason: string }[] {
    return this.endpoints.map((endpoint) => ({
      name: endpoint.signer,
      zone: endpoint.zone,
      answers: endpoint.answers === true,
      reason: endpoint.reason,
    }));
  }
  /** Signers with at least one endpoint that answers. */
  answering(): number {
    return new Set(this.endpoints.filter((endpoint) => endpoint.answers === true).map((endpoint) => endpoint.signer))
      .size;
  }

  close(): void {
    this.stop.abort();
    for (const endpoint of this.endpoints) endpoint.agent.destroy();
  }
}

const isTexts = (value: unknown): boolean => Array.isArray(value) && value.every((entry) => typeof entry === "string");
