/**
 * The signers behind the gate: octez-signer's HTTP protocol, several ways to each, own zone first.
 *
 * Guarantees: the bytes that are sent are the bytes that came; every attempt ends by its deadline; a request that must
 * not be signed twice (S7) goes to one signer over a connection of its own, and to another only where the first cannot
 * have got it; what a signer's own watermark refuses is asked of nobody else; a signature is handed on only if it has
 * the shape of the key's curve and, but for BLS (25 ms a check), verifies with the public key.
 *
 * A signer whose last signature failed comes after the others until it signs again. Where another one signs a vote, it
 * gets the same bytes in the background: identical votes may be signed twice (S7).
 */
import { setMaxListeners } from "node:events";
import type { GateStatus } from "../../contract/status";
import { sleep, untilBeat } from "../runtime/clock";
import { Endpoints, type Endpoint, type EndpointsOptions, type SignersOfKeys } from "./endpoints";
import type { SignAttempt, SignOutcome } from "./gate-options";
import { judge, type Verdict } from "./signer-answer";

export interface UpstreamOptions extends EndpointsOptions {
  podAddress: string;
  onAttempt?: (signer: string, result: string, ms: number) => void;
}

export class Upstream {
  private readonly endpoints: Endpoints;
  private readonly stop = new AbortController();

  constructor(private readonly options: UpstreamOptions) {
    setMaxListeners(0, this.stop.signal);
    this.endpoints = new Endpoints(options, this.stop.signal);
  }

  /** Other signers from now on: see `Endpoints`. */
  configure(file: SignersOfKeys): void {
    this.endpoints.configure(file);
  }

  async sign(attempt: SignAttempt): Promise<SignOutcome> {
    const { clock, log } = this.options;
    const candidates = this.endpoints.candidates(attempt.address);
    const details = new Set<string>();
    let reason = "no-signer";
    let mayHaveSigned = false;
    let refused = 0;
    const busy = new Set<string>();
    // Two rounds: a tunnel that was being replaced answers at the second.
    for (const [i, endpoint] of [...candidates, ...candidates].entries()) {
      if (mayHaveSigned && !attempt.repeatable) break;
      if (refused === candidates.length) break;
      if (i === candidates.length) {
        busy.clear();
        await sleep(Math.min(100, Math.max(0, attempt.deadlineMs - clock.now())), this.stop.signal);
      }
      if (attempt.deadlineMs <= clock.now()) break;
      // Its other endpoints lead to the same signer.
      if (busy.has(endpoint.signer)) continue;
      const verdict = await this.ask(endpoint, attempt);
      if (verdict.ok) {
        if (attempt.kind !== "block") this.retry(candidates, attempt);
        return { ...verdict, signer: endpoint.signer };
      }
      if (verdict.reason === "signer-refused") refused++;
      if (verdict.reason === "signer-busy") busy.add(endpoint.signer);
      mayHaveSigned ||= verdict.mayHaveSigned;
      ({ reason } = verdict);
      const { signer, zone } = endpoint;
      details.add(`${signer}: ${verdict.detail}`);
      log.warn("signer", reason, { signer, zone, address: attempt.address, detail: verdict.detail });
      // What this signer has signed at the place may be something else, and so may be what another one signs now.
      if (verdict.bySignerWatermark) break;
    }
    const nobody = candidates.length === 0 ? "no signer is configured for this key" : "no time was left for a signer";
    const detail = [...details].join("; ") || nobody;
    return { ok: false, reason, detail, mayHaveSigned };
  }

  /** One request for a signature, and what it tells of the endpoint. */
  private async ask(endpoint: Endpoint, attempt: SignAttempt): Promise<Verdict> {
    const { clock, timings } = this.options;
    const { address, deadlineMs } = attempt;
    const startedMs = clock.now();
    const answer = await this.endpoints.request(endpoint, `/keys/${address}${attempt.query}`, {
      method: "POST",
      body: JSON.stringify(Buffer.from(attempt.bytes).toString("hex")),
      timeoutMs: Math.min(timings.signerTimeoutMs, deadlineMs - startedMs),
      ...(attempt.repeatable ? {} : { agent: false }),
    });
    const verdict = judge(attempt, answer, this.endpoints.publicKey(address));
    this.options.onAttempt?.(endpoint.signer, verdict.ok ? "signed" : verdict.reason, clock.now() - startedMs);
    if (verdict.ok) this.endpoints.signed(endpoint, address);
    // What did not even leave is a matter of the health checks.
    else if (!verdict.bySignerWatermark && (answer.ok || answer.sent))
      this.endpoints.demote(endpoint, address, { detail: verdict.detail, bySigner: answer.ok });
    if (!answer.ok && answer.reason !== "busy") this.endpoints.mark(endpoint, false, answer.detail);
    return verdict;
  }

  /** Asks those that failed a while ago for the vote that another one has signed, in the background. */
  private retry(candidates: readonly Endpoint[], attempt: SignAttempt): void {
    const deadlineMs = this.options.clock.now() + this.options.timings.signerTimeoutMs;
    for (const endpoint of candidates)
      if (this.endpoints.mayRetry(endpoint, attempt.address)) void this.ask(endpoint, { ...attempt, deadlineMs });
  }

  /** See `Endpoints`. */
  check(): Promise<void> {
    return this.endpoints.check();
  }
  /** Checks every `memberRenewSeconds` until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, timings, podAddress } = this.options;
    while (!signal.aborted) {
      await this.check();
      await sleep(untilBeat(clock, timings.memberRenewSeconds * 1000, podAddress), signal);
    }
  }

  serves(address: string): boolean {
    return this.endpoints.serves(address);
  }
  /** The public key of a configured key, checked against its hash; asks the signers where it is not known yet. */
  publicKey(address: string): Promise<string | undefined> {
    return this.endpoints.findPublicKey(address);
  }

  /**
   * Union of what the signers answered, `{}` where none asks for authentication; undefined where no signer answers.
   * From the last health check, so that it costs the baker nothing.
   */
  async authorizedKeys(): Promise<{ authorized_keys?: string[] } | undefined> {
    const fresh = () => {
      const since = this.options.clock.now() - 5 * this.options.timings.memberRenewSeconds * 1000;
      return this.endpoints.all.filter((endpoint) => endpoint.answers === true && endpoint.checkedMs >= since);
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
    const order = address === undefined ? this.endpoints.all : this.endpoints.candidates(address);
    let last: { status: number; body: string } | undefined;
    for (const endpoint of order) {
      const timeoutMs = this.options.timings.signerTimeoutMs;
      const answer = await this.endpoints.request(endpoint, path + query, { method: "GET", timeoutMs });
      if (!answer.ok) continue;
      last = { status: answer.status, body: answer.body };
      if (answer.status === 200) break;
    }
    return last;
  }

  status(): GateStatus["signers"] {
    return this.endpoints.status();
  }
  answering(): number {
    return this.endpoints.answering();
  }
  having(address: string): number {
    return this.endpoints.having(address);
  }
  answeringWith(address: string): number {
    return this.endpoints.answeringWith(address);
  }

  close(): void {
    this.stop.abort();
    this.endpoints.close();
  }
}
