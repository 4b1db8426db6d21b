/**
 * Answers that do not end. A document is repeated as JSON lines `{atNs, document}`: at once, at each change that the
 * daemon announces, and else about every MS (`longestPause`). `atNs` is the CLOCK_MONOTONIC at which it was true; the
 * containers of a pod share that clock. A line costs a fraction of a request.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { afterBeat, systemClock, untilBeat } from "./clock";
import { sendJson } from "./http-bodies";
import { StreamPlaces } from "./stream-places";

/** Between two lines of a document, in units of the MS that its follower asked for: a beat, and a little. */
export const longestPause = 1.5 + afterBeat;
/** A reader that lets this much pile up is cut off: it comes back and gets the newest. */
const maxBacklogBytes = 256 * 1024;

/** Streams of lines, as many as there are places. */
export class LineStreams {
  private readonly places = new StreamPlaces();

  /** @param begin gets what writes a line, and returns what is called when the reader has gone */
  serve(
    request: IncomingMessage,
    response: ServerResponse,
    begin: (write: (line: string) => void) => () => void,
  ): void {
    const leave = this.places.take(request);
    if (!leave) return sendJson(response, 503, { error: "too-many-streams" }, { "retry-after": "1" });
    response.writeHead(200, { "content-type": "application/x-ndjson", "cache-control": "no-store" });
    request.socket.setNoDelay(true);
    response.on("close", leave);
    const write = (line: string): void => {
      if (response.writableLength > maxBacklogBytes) response.destroy();
      else response.write(line + "\n");
    };
    response.on("close", begin(write));
    response.flushHeaders();
  }
}

/** A document that is read once, or followed with `?watch=MS`. */
export class FollowedDocument {
  private readonly streams = new LineStreams();
  private readonly followers = new Set<() => void>();

  /** @param host of the pod, for its beat */
  constructor(
    private readonly read: () => unknown,
    private readonly host: string,
  ) {}

  /** Its followers hear it now. */
  changed(): void {
    for (const push of this.followers) push();
  }

  serve(request: IncomingMessage, response: ServerResponse, url: URL): void {
    const everyMs = Number(url.searchParams.get("watch") ?? NaN);
    if (Number.isNaN(everyMs)) return sendJson(response, 200, this.read());
    const periodMs = Math.min(60_000, Math.max(20, everyMs));
    this.streams.serve(request, response, (write) => {
      let timer: NodeJS.Timeout | undefined;
      const push = (): void => {
        clearTimeout(timer);
        const atNs = process.hrtime.bigint().toString();
        write(JSON.stringify({ atNs, document: this.read() }));
        // A little after the beat at which daemons ask around: what they learn is a change that counts as this
        // repetition.
        timer = setTimeout(push, untilBeat(systemClock, periodMs, this.host) + afterBeat * periodMs);
      };
      this.followers.add(push);
      push();
      return () => {
        clearTimeout(timer);
        this.followers.delete(push);
      };
    });
  }
}
