/** Between the Lease object of the API and what the election sees and writes. Pure. */
import { annotations, labels, partOf } from "../../contract/names";
import { receiptSchema, type Receipt } from "../../contract/receipt";
import type { Lease } from "../runtime/kube";
import type { LeaseView } from "./decide";

const maxReceipts = 50;
/** Annotations of one object hold 256 KiB; we stay far below. */
const maxReceiptsBytes = 100_000;

/** Which parts of a lease prove that somebody renewed it: an operator's annotation does not. */
const proof = (lease: Lease): string =>
  JSON.stringify([
    lease.spec.holderIdentity ?? "",
    lease.spec.leaseDurationSeconds ?? 0,
    lease.spec.acquireTime ?? "",
    lease.spec.renewTime ?? "",
    lease.spec.leaseTransitions ?? 0,
  ]);

/**
 * The view after `lease` was seen at `now`.
 * @param before the last view and the object that it came from
 * @param written true where `lease` is the answer to a write of this process
 */
export function viewLease(
  lease: Lease,
  now: number,
  self: string,
  before: { view: LeaseView; object: Lease } | null,
  written: boolean,
): LeaseView {
  const uid = lease.metadata.uid ?? "";
  const known = before !== null && before.view.uid === uid ? before : null;
  const changed = !known || proof(known.object) !== proof(lease);
  const holder = lease.spec.holderIdentity ?? "";
  const note = lease.metadata.annotations ?? {};
  return {
    uid,
    holder,
    epoch: lease.spec.leaseTransitions ?? 0,
    durationMs: (lease.spec.leaseDurationSeconds ?? 0) * 1000,
    successor: note[annotations.successor] ?? "",
    preferredHolder: note[annotations.preferredHolder] ?? "",
    uidSeenAtMs: known?.view.uidSeenAtMs ?? now,
    changedAtMs: changed ? now : known.view.changedAtMs,
    surprising:
      holder === self &&
      !written &&
      // A lease that was somebody's a moment ago, or whose epoch went back, did not become ours by our own hand.
      ((known !== null &&
        (known.view.holder !== self ||
          known.view.surprising ||
          (lease.spec.leaseTransitions ?? 0) < known.view.epoch)) ||
        (known === null && before !== null)),
  };
}

/** Newest first; what does not parse is dropped. */
export function readReceipts(lease: Lease): Receipt[] {
  try {
    const list: unknown = JSON.parse(lease.metadata.annotations?.[annotations.receipts] ?? "[]");
    if (!Array.isArray(list)) return [];
    return list.flatMap((item) => {
      const parsed = receiptSchema.safeParse(item);
      return parsed.success ? [parsed.data] : [];
    });
  } catch {
    return [];
  }
}

/** The receipt that the releasing pod left, or undefined. */
export function readLastTransition(lease: Lease): Receipt | undefined {
  try {
    const parsed = receiptSchema.safeParse(JSON.parse(lease.metadata.annotations?.[annotations.lastTransition] ?? ""));
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}

/** The annotations with `receipt` as the last transition and as the newest of the list (one per epoch). */
export function withReceipt(
  note: Record<string, string>,
  receipts: readonly Receipt[],
  receipt: Receipt,
): Record<string, string> {
  let list = [receipt, ...receipts.filter((other) => other.epoch !== receipt.epoch)].slice(0, maxReceipts);
  let text = JSON.stringify(list);
  while (text.length > maxReceiptsBytes && list.length > 1) {
    list = list.slice(0, -1);
    text = JSON.stringify(list);
  }
  return { ...note, [annotations.lastTransition]: JSON.stringify(receipt), [annotations.receipts]: text };
}

/** A fresh lease that nobody holds. */
export function emptyLease(name: string, namespace: string, baker: string): Lease {
  return {
    apiVersion: "coordination.k8s.io/v1",
    kind: "Lease",
    metadata: { name, namespace, labels: { [labels.baker]: baker, [labels.partOf]: partOf } },
    spec: { holderIdentity: "" },
  };
}

/** The pod's name in an identity. */
export const podOf = (identity: string): string =>
  identity.slice(0, identity.lastIndexOf("_") >= 0 ? identity.lastIndexOf("_") : undefined);

/** A copy of which annotations may be changed, and the spec replaced. */
export const writable = (lease: Lease) => ({
  ...lease,
  metadata: { ...lease.metadata, annotations: { ...lease.metadata.annotations } },
});
