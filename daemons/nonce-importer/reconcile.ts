/** When a pod's nonces count as exchanged after its start. Pure. */

export interface PeerProgress {
  pod: string;
  /** Its content has been merged into our files at least once. */
  imported: boolean;
  /** It has acknowledged ours at least once. */
  acknowledged: boolean;
}

/**
 * True once both directions are done with every member, or after `boundMs`: a broken exchange never vetoes for ever.
 */
export function decide(state: { sinceStartMs: number; boundMs: number; peers: readonly PeerProgress[] }): {
  reconciled: boolean;
  reason: string;
} {
  const open = state.peers.filter((peer) => !peer.imported || !peer.acknowledged);
  if (open.length === 0)
    return { reconciled: true, reason: state.peers.length === 0 ? "no-other-member" : "exchanged" };
  const names = open
    .map((peer) => `${peer.pod}${peer.imported ? "" : " not imported"}${peer.acknowledged ? "" : " not acknowledged"}`)
    .join(", ");
  return state.sinceStartMs >= state.boundMs
    ? { reconciled: true, reason: `gave up waiting: ${names}` }
    : { reconciled: false, reason: names };
}
