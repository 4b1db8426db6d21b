/** What the containers of this pod said last, and when they were asked. */
import type { GateStatus, NonceStatus, SidecarStatus, SupervisorStatus } from "../../contract/status";

export interface Statuses {
  sidecar: SidecarStatus | null;
  supervisor: SupervisorStatus | null;
  gate: GateStatus | null;
  exposer: NonceStatus | null;
  importer: NonceStatus | null;
}

export class PodStatus {
  /** Null where the container did not answer when it was asked last. */
  readonly latest: Statuses = { sidecar: null, supervisor: null, gate: null, exposer: null, importer: null };
  private readonly askedAtMs = { sidecar: 0, supervisor: 0, gate: 0, exposer: 0, importer: 0 };
  private sidecarAnsweredAtMs = -Infinity;
  private exchanged = false;

  /** `freshMs`: how long an answer counts. The first exchange of nonces is waited for until `nonceDeadlineMs`. */
  constructor(private readonly o: { freshMs: number; nonceDeadlineMs: number }) {}

  /** @returns false where the answer is the same object as before */
  saw<K extends keyof Statuses>(name: K, status: Statuses[K], askedAtMs: number): boolean {
    const changed = this.latest[name] !== status;
    this.latest[name] = status;
    this.askedAtMs[name] = askedAtMs;
    if (name === "sidecar" && status !== null) this.sidecarAnsweredAtMs = askedAtMs;
    return changed;
  }

  fresh<K extends keyof Statuses>(name: K, now: number): Statuses[K] | null {
    return now - this.askedAtMs[name] <= this.o.freshMs ? this.latest[name] : null;
  }

  askedSince(name: keyof Statuses, atMs: number): boolean {
    return this.askedAtMs[name] >= atMs;
  }

  /** The sidecar does not answer now, and still did about when `atMs` came, or later. */
  sidecarFellSilent(atMs: number): boolean {
    return this.latest.sidecar === null && this.sidecarAnsweredAtMs >= atMs - this.o.freshMs;
  }

  /** Nonces have been exchanged once since the start: the importer need not be asked any more. */
  get noncesExchanged(): boolean {
    return this.exchanged;
  }

  /** The first exchange of nonces may delay this pod's first claim, but a broken exchange never vetoes a failover. */
  noteExchange(now: number): void {
    if (this.latest.importer?.reconciled || now > this.o.nonceDeadlineMs) this.exchanged = true;
  }
}
