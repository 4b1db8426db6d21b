/**
 * Who holds what: acknowledgements by member and content, and whether the final content of a handover has arrived. Pure
 * but for its own state.
 */

interface Peer {
  identity: string;
  connected: boolean;
  /** Content hash of the last acknowledgement. */
  hash: string | undefined;
  /** Nonce hashes in it. */
  nonces: ReadonlySet<string>;
}

export class Acknowledgements {
  private readonly peers = new Map<string, Peer>();
  /** The last contents that were sent: content hash -> nonce hashes. */
  private readonly sent = new Map<string, ReadonlySet<string>>();

  constructor(private readonly members: readonly string[]) {
    for (const pod of members)
      this.peers.set(pod, { identity: "", connected: false, hash: undefined, nonces: new Set() });
  }

  remember(contentHash: string, nonces: ReadonlySet<string>): void {
    this.sent.delete(contentHash);
    this.sent.set(contentHash, nonces);
    for (const oldest of this.sent.keys()) {
      if (this.sent.size <= 16) break;
      this.sent.delete(oldest);
    }
  }

  /** Another uid of the same name may have another disk: its acknowledgements are forgotten. */
  connected(pod: string, identity: string): void {
    const peer = this.peers.get(pod);
    if (!peer) return;
    if (peer.identity !== identity) Object.assign(peer, { identity, hash: undefined, nonces: new Set() });
    peer.connected = true;
  }
  disconnected(pod: string): void {
    const peer = this.peers.get(pod);
    if (peer) peer.connected = false;
  }
  /** @returns false for a content that was not sent lately */
  acknowledge(pod: string, contentHash: string): boolean {
    const peer = this.peers.get(pod);
    const nonces = this.sent.get(contentHash);
    if (!peer || !nonces) return false;
    peer.hash = contentHash;
    peer.nonces = nonces;
    return true;
  }

  holds(nonceHash: string): boolean {
    return [...this.peers.values()].some((peer) => peer.nonces.has(nonceHash));
  }

  /** Whether somebody, connected or not, acknowledged this content. */
  anybodyHas(contentHash: string): boolean {
    return [...this.peers.values()].some((peer) => peer.hash === contentHash);
  }

  view(contentHash: string | undefined): { pod: string; connected: boolean; acknowledged: boolean; reason: string }[] {
    return [...this.peers].map(([pod, peer]) => {
      const acknowledged = contentHash !== undefined && peer.hash === contentHash;
      return {
        pod,
        connected: peer.connected,
        acknowledged,
        reason: !peer.connected ? "not connected" : acknowledged ? "" : "not acknowledged yet",
      };
    });
  }

  /**
   * The end of a planned handover: each connected member, and at least one, has the content that was read after the
   * daemons had stopped.
   * @param finalHash content hash of that reading; undefined = not read yet, or not asked for
   */
  finalPushed(finalHash: string | undefined): { finalPushed: boolean; reason: string } {
    if (finalHash === undefined) return { finalPushed: false, reason: "following" };
    const connected = [...this.peers].filter(([, peer]) => peer.connected);
    if (connected.length === 0)
      return this.members.length === 0
        ? { finalPushed: true, reason: "no-other-member" }
        : { finalPushed: false, reason: "nobody is connected" };
    const late = connected.filter(([, peer]) => peer.hash !== finalHash).map(([pod]) => pod);
    return late.length === 0
      ? { finalPushed: true, reason: "acknowledged" }
      : { finalPushed: false, reason: `waiting for ${late.join(", ")}` };
  }
}
