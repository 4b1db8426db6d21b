/**
 * One connection to another member's exposer: TLS-PSK, content in, acknowledgements out. Delivers only content that is
 * whole: our chain, each entry checked, each hash that of its nonce. Anything else is refused with a reason and changes
 * nothing. Reconnects with backoff, for ever.
 */
import { connect, type TLSSocket } from "node:tls";
import {
  checkLegacy,
  checkStateful,
  NonceFileError,
  nonceFileKind,
  type NonceSet,
  type NonceState,
} from "../../tezos/nonces";
import { backoffMs, sleep, type Clock } from "../runtime/clock";
import { line, maxContentBytes, pskOptions, readLines, serverMessageSchema } from "../runtime/nonce-wire";

export interface PeerContent extends NonceSet {
  hash: string;
}
export interface FollowOptions {
  /** Pod name of the member that is followed. */
  pod: string;
  self: { pod: string; identity: string };
  chainId: string;
  /** Where it is now; undefined = unknown. */
  address: () => { host: string; port: number } | undefined;
  key: () => Buffer;
  beatMs: number;
  silenceMs: number;
  clock: Clock;
  signal: AbortSignal;
  /** New content; `acknowledge` is called once it is durable here, and does nothing after the connection has ended. */
  onContent: (content: PeerContent, acknowledge: () => void) => void;
  /**
   * Connected or not, with the reason: no-address, connect, tls, silent, too-long, not-json, other-chain,
   * hash-mismatch, state-backwards, ...
   */
  onState: (connected: boolean, code: string, reason: string) => void;
  maxBytes?: number;
}

/** Runs until the signal aborts. */
export async function follow(options: FollowOptions): Promise<void> {
  const { signal, clock } = options;
  /** Most advanced state that this member ever sent, by hash. */
  const seen = new Map<string, NonceState>();
  for (let attempt = 0; !signal.aborted; attempt++) {
    const address = options.address();
    if (!address) options.onState(false, "no-address", "no address is known");
    else {
      const since = clock.now();
      await once(options, address, seen);
      if (clock.now() - since > 10_000) attempt = 0;
    }
    await sleep(address ? backoffMs(attempt, 50, 1000) : 50, signal);
    if (!address) attempt = 0;
  }
}

function once(
  options: FollowOptions,
  address: { host: string; port: number },
  seen: Map<string, NonceState>,
): Promise<void> {
  return new Promise((resolve) => {
    const { clock, signal } = options;
    let key: Buffer;
    try {
      key = options.key();
    } catch (error) {
      options.onState(false, "secret", error instanceof Error ? error.message : String(error));
      return resolve();
    }
    const socket: TLSSocket = connect({
      ...pskOptions,
      ...address,
      // There is no certificate: the key is the proof.
      checkServerIdentity: () => undefined,
      pskCallback: () => ({ psk: key, identity: options.self.pod }),
    });
    socket.setNoDelay(true);
    let heardAtMs = clock.now();
    let secure = false;
    let ended = false;
    const end = (code: string, reason: string): void => {
      if (ended) return;
      ended = true;
      clearInterval(timer);
      signal.removeEventListener("abort", onAbort);
      socket.destroy();
      options.onState(false, code, reason);
      resolve();
    };
    const onAbort = (): void => end("stopped", "this daemon stops");
    signal.addEventListener("abort", onAbort);
    const timer = setInterval(() => {
      const now = options.address();
      if (clock.now() - heardAtMs > options.silenceMs) end("silent", `nothing was heard for ${options.silenceMs} ms`);
      else if (now && (now.host !== address.host || now.port !== address.port))
        end("moved", `the address is now ${now.host}`);
      else if (secure) socket.write(line({ type: "beat" }));
    }, options.beatMs);
    socket.on("secureConnect", () => {
      secure = true;
      socket.write(
        line({ type: "hello", pod: options.self.pod, identity: options.self.identity, chain: options.chainId }),
      );
    });
    socket.on("error", (error: NodeJS.ErrnoException) => end(secure ? "cut" : "connect", error.code ?? error.message));
    socket.on("close", () => end("cut", "the connection was closed"));
    socket.on("end", () => end("cut", "the connection was closed"));
    readLines(
      socket,
      options.maxBytes ?? maxContentBytes,
      (text) => {
        if (ended) return;
        heardAtMs = clock.now();
        const refused = receive(text, options, seen, (hash) => {
          if (!ended) socket.write(line({ type: "ack", hash }));
        });
        if (refused) end(refused.code, refused.reason);
      },
      () => end("too-long", `a message of more than ${options.maxBytes ?? maxContentBytes} bytes`),
    );
  });
}

/** Why the message is refused; undefined where it was taken. */
const goesBack = (before: NonceState, now: NonceState): boolean =>
  before !== "committed" && (now === "committed" || now.injection_level < before.injection_level);

function receive(
  text: string,
  options: FollowOptions,
  seen: Map<string, NonceState>,
  acknowledge: (hash: string) => void,
): { code: string; reason: string } | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { code: "not-json", reason: `a line of ${text.length} characters is no JSON` };
  }
  const parsed = serverMessageSchema.safeParse(value);
  if (!parsed.success)
    return { code: "malformed", reason: `no known message: ${parsed.error.issues[0]?.path.join(".") ?? ""}` };
  const message = parsed.data;
  switch (message.type) {
    case "beat":
      return undefined;
    case "unavailable":
      options.onState(true, "unavailable", message.reason.slice(0, 300));
      return undefined;
    case "content":
      break;
  }
  if (message.pod !== options.pod)
    return { code: "other-pod", reason: `expected ${options.pod}, got ${message.pod.slice(0, 80)}` };
  if (
    message.chain !== options.chainId ||
    (message.file !== null && nonceFileKind(message.file, options.chainId) !== "stateful_nonces")
  )
    return {
      code: "other-chain",
      reason: `expected ${options.chainId}, got ${message.chain.slice(0, 20)} and file ${(message.file ?? "none").slice(0, 60)}`,
    };
  try {
    const stateful = checkStateful(message.stateful);
    const legacy = checkLegacy(message.legacy);
    for (const entry of stateful) {
      const before = seen.get(entry.hash);
      if (before !== undefined && goesBack(before, entry.state))
        return {
          code: "state-backwards",
          reason: `${entry.hash} was ${JSON.stringify(before)} and is ${JSON.stringify(entry.state)}`,
        };
    }
    seen.clear();
    for (const entry of stateful) seen.set(entry.hash, entry.state);
    options.onState(true, "connected", "");
    options.onContent({ stateful, legacy, hash: message.hash }, () => acknowledge(message.hash));
    return undefined;
  } catch (error) {
    if (!(error instanceof NonceFileError)) throw error;
    return { code: error.code, reason: error.message };
  }
}
