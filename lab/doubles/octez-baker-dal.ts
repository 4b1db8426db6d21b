/**
 * The DAL node as octez-baker 25.1 uses it: it registers its keys, and follows one stream of attestable slots for each.
 * A stream that has ended is never opened again: from then on no slot is attested, and nothing says so. At every 50th
 * level it asks on the way to the attestation, without a deadline: a DAL node that hangs stalls the baker there.
 */
import { dalParameters } from "../chain/dal";
import { sleep } from "./common";
import { call, NodeClient } from "./node-client";

/** Levels between two of those questions. */
const askedEvery = 50;

interface SlotId {
  slot_level: number;
  slot_index: number;
}
type AttestableEvent =
  { kind: "attestable_slot"; slot_id: SlotId } | { kind: "backfill"; backfill_payload: { slot_ids: SlotId[] } };

export class DalClient {
  /** By address, and then by the level of publication. */
  private readonly cache = new Map<string, Map<number, Set<number>>>();
  private answered: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly url: string,
    private readonly addresses: readonly string[],
  ) {}

  /** Octez bakes meanwhile. */
  async start(): Promise<void> {
    await this.register();
    const client = new NodeClient(this.url, 0);
    for (const address of this.addresses)
      void client.follow(
        `/profiles/${address}/monitor/attestable_slots`,
        new AbortController().signal,
        (value) => this.learn(address, value as AttestableEvent),
        "once",
      );
  }

  /** Slots that the key may attest at this level. */
  slots(address: string, level: number): number[] {
    const known = this.cache.get(address)?.get(level - dalParameters.attestationLag);
    return [...(known ?? [])].sort((a, b) => a - b);
  }

  /** Before an attestation at this level: resolves once the DAL node has answered, where it is asked. */
  beforeAttestation(level: number): Promise<unknown> {
    if (level % askedEvery === 0) this.answered = call(`${this.url}/profiles`).catch(() => undefined);
    return this.answered;
  }
  /** Octez does one thing after the other: nothing is done while it waits. */
  idle(): Promise<unknown> {
    return this.answered;
  }

  private learn(address: string, event: AttestableEvent): void {
    const levels = this.cache.get(address) ?? new Map<number, Set<number>>();
    this.cache.set(address, levels);
    const slots = event.kind === "backfill" ? event.backfill_payload.slot_ids : [event.slot_id];
    for (const { slot_level: level, slot_index: slot } of slots) {
      levels.set(level, (levels.get(level) ?? new Set()).add(slot));
      levels.delete(level - 100);
    }
  }

  private async register(): Promise<void> {
    const profiles = JSON.stringify(this.addresses.map((key) => ({ kind: "attester", public_key_hash: key })));
    for (let delay = "1.00"; ; delay = "2.00") {
      const done = await call(`${this.url}/profiles`, profiles, 5000, "PATCH").then(
        ({ status }) => status === 200,
        () => false,
      );
      if (done) return;
      process.stdout.write(`Failed to register profiles, DAL node is not reachable. Retrying in ${delay} seconds...\n`);
      await sleep(Number(delay) * 1000);
    }
  }
}
