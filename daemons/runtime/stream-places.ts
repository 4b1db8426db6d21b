/**
 * Places for callers of a stream. The containers of the pod have their own, which no caller from elsewhere can take:
 * whoever may read a document may not keep the signing gate from hearing of it. One caller from elsewhere cannot take
 * all the places of the others either.
 */
import type { IncomingMessage } from "node:http";

export const streamPlaces = { own: 32, foreign: 16, foreignPerCaller: 4 };

/** A connection whose two ends have one address never left the pod; loopback is the pod's own, too. */
function isOwn({ remoteAddress = "", localAddress }: { remoteAddress?: string; localAddress?: string }): boolean {
  return remoteAddress === localAddress || remoteAddress.startsWith("127.") || remoteAddress === "::1";
}

export class StreamPlaces {
  private own = 0;
  private foreign = 0;
  private readonly byCaller = new Map<string, number>();

  /** @returns what gives the place back, or undefined where none is free */
  take({
    socket,
  }: {
    socket: Pick<IncomingMessage["socket"], "remoteAddress" | "localAddress">;
  }): (() => void) | undefined {
    if (isOwn(socket)) {
      if (this.own >= streamPlaces.own) return undefined;
      this.own++;
      return () => void this.own--;
    }
    const caller = socket.remoteAddress ?? "";
    const held = this.byCaller.get(caller) ?? 0;
    if (this.foreign >= streamPlaces.foreign || held >= streamPlaces.foreignPerCaller) return undefined;
    this.foreign++;
    this.byCaller.set(caller, held + 1);
    return () => {
      this.foreign--;
      const left = (this.byCaller.get(caller) ?? 1) - 1;
      if (left > 0) this.byCaller.set(caller, left);
      else this.byCaller.delete(caller);
    };
  }
}
