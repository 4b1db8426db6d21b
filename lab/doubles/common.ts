/**
 * What the Octez doubles share: strict command lines, signals and exit codes, a life line to the laboratory, POSIX
 * locks.
 */
import { closeSync, openSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { connect, type AddressInfo } from "node:net";
import koffi from "koffi";

export { lines } from "./lines";

/** Laboratory variables: the cluster sets them beside the container's own. */
export const lab = {
  /** HOST:PORT of the chain as this pod reaches it. */
  chain: process.env.LAB_CHAIN ?? "",
  /** Unix socket: a connection lives as long as the process. */
  trace: process.env.LAB_TRACE ?? "",
  pod: process.env.LAB_POD ?? process.env.TOG_POD_NAME ?? "",
  uid: process.env.LAB_POD_UID ?? process.env.TOG_POD_UID ?? "",
  startMs: Number(process.env.LAB_START_MS ?? "2000"),
  /** "measured": each double holds as much memory as the program did that it stands for. */
  memory: process.env.LAB_MEMORY ?? "",
};

/** Resident megabytes of Octez 25.1 beside a sandbox node; much of a node's own grows with its chain. */
export const residentMegabytes: Readonly<Record<string, number>> = {
  ...{ "octez-node": 227, "octez-baker": 206, "octez-signer": 72, "octez-dal-node": 120 },
};
let ballast: Buffer | undefined;
function holdMemory(role: string): void {
  const missing = (residentMegabytes[role] ?? 0) * 1e6 - process.memoryUsage.rss();
  // What is written to is resident.
  if (lab.memory === "measured" && missing > 0) ballast ??= Buffer.alloc(missing, 1);
}

export function fail(program: string, code: number, message: string): never {
  process.stderr.write(`${program}: ${message}\n`);
  process.exit(code);
}

export interface ArgumentSpec {
  /** Option -> "flag" or "value". Both `--x v` and `--x=v`. */
  options: Record<string, "flag" | "value">;
  aliases?: Record<string, string>;
}
/** @throws Error for an option that is not listed, or lacks its value */
export function parseArguments(
  argv: readonly string[],
  spec: ArgumentSpec,
): { options: Map<string, string[]>; words: string[] } {
  const options = new Map<string, string[]>();
  const words: string[] = [];
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i] ?? "";
    if (!word.startsWith("-") || word === "-") {
      words.push(word);
      continue;
    }
    const [given = "", inline] = word.startsWith("--") && word.includes("=") ? splitOnce(word) : [word, undefined];
    const name = spec.aliases?.[given] ?? given;
    const kind = spec.options[name];
    if (kind === undefined) throw new Error(`unknown option '${given}'.`);
    let value = inline ?? "";
    if (kind === "value" && inline === undefined) {
      const next = argv[++i];
      if (next === undefined) throw new Error(`option '${given}' needs an argument.`);
      value = next;
    }
    if (kind === "flag" && inline !== undefined)
      throw new Error(`option '${given}' is a flag, it can't take the argument '${inline}'.`);
    options.set(name, [...(options.get(name) ?? []), value]);
  }
  return { options, words };
}
const splitOnce = (word: string): [string, string] => [
  word.slice(0, word.indexOf("=")),
  word.slice(word.indexOf("=") + 1),
];

/** SIGTERM or SIGINT: `close`, then exit code 127; a second one ends at once with 255, as Octez does. */
export function octezSignals(program: string, close: () => Promise<void> | void): void {
  let stopping = false;
  const stop = (name: string) => {
    process.stderr.write(`(${program}) ${name}: ${stopping ? "already in shutdown" : "triggering shutdown"}.\n`);
    if (stopping) process.exit(255);
    stopping = true;
    void Promise.resolve(close()).finally(() => process.exit(127));
  };
  process.on("SIGTERM", () => stop("TERM"));
  process.on("SIGINT", () => stop("INT"));
}

export type Trace = (event: string, fields?: Record<string, unknown>) => void;
/** The kernel closes the connection when the process ends: that is how the laboratory knows who ran when. */
export function openTrace(role: string): Trace {
  holdMemory(role);
  if (lab.trace === "") return () => undefined;
  const socket = connect(lab.trace);
  socket.on("error", () => undefined);
  socket.unref();
  const trace: Trace = (event, fields = {}) =>
    void socket.write(
      JSON.stringify({ ...fields, event, role, pod: lab.pod, uid: lab.uid, pid: process.pid, atMs: Date.now() }) + "\n",
    );
  trace("process");
  return trace;
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const libc = koffi.load(null);
const lockf = libc.func("int lockf(int fd, int cmd, long len)") as (
  fd: number,
  command: number,
  length: number,
) => number;
const F_ULOCK = 0;
const F_TLOCK = 2;
/** Tries OCaml's `Unix.lockf fd F_TLOCK 0` on a file. The lock ends with the returned function, or the process. */
export function tryLock(path: string): (() => void) | undefined {
  const fd = openSync(path, "a+", 0o644);
  if (lockf(fd, F_TLOCK, 0) !== 0) {
    closeSync(fd);
    return undefined;
  }
  return () => {
    lockf(fd, F_ULOCK, 0);
    closeSync(fd);
  };
}
/**
 * Octez' wallet lock. Octez blocks in F_SETLKW until it has it; a thread that blocks there would keep a process of Node
 * from ending, so this one tries every 2 ms.
 */
export async function withLock<T>(path: string, action: () => T): Promise<T> {
  let release = tryLock(path);
  while (!release) {
    await sleep(2);
    release = tryLock(path);
  }
  try {
    return action();
  } finally {
    release();
  }
}

/** JSON of a file, or `fallback` where there is none. @throws Error where it is no JSON */
export function readJson<T>(path: string, fallback: T): T {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return fallback;
    throw error;
  }
  return JSON.parse(text) as T;
}
/** As Octez writes: a temporary file beside it and a rename, without fsync. */
export function writeJson(path: string, value: unknown): void {
  const temporary = `${path}${randomBytes(3).toString("hex")}.tmp`;
  writeFileSync(temporary, JSON.stringify(value), { mode: 0o600 });
  renameSync(temporary, path);
}

export type Route = (
  request: IncomingMessage,
  response: ServerResponse,
  url: URL,
  body: string,
) => void | Promise<void>;
/** Serves on "HOST:PORT", port 0 being any. The handler answers everything. `heard` gets the port that it is. */
export async function serve(
  address: string,
  route: Route,
  heard: (port: number) => void = () => undefined,
): Promise<() => void> {
  const { host, port } = splitAddress(address);
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (chunk: Buffer) => (body += chunk.toString()));
    request.on("end", () => {
      void Promise.resolve(route(request, response, new URL(request.url ?? "/", "http://octez"), body)).catch(
        (error: unknown) => {
          if (!response.headersSent)
            response.writeHead(500).end(JSON.stringify([{ kind: "permanent", id: String(error) }]));
        },
      );
    });
  });
  server.keepAliveTimeout = 30_000;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, resolve);
  });
  heard((server.address() as AddressInfo).port);
  return () => {
    server.close();
    server.closeAllConnections();
  };
}
export function splitAddress(address: string): { host: string; port: number } {
  const at = address.lastIndexOf(":");
  const port = Number(address.slice(at + 1));
  if (at < 0 || !Number.isInteger(port)) throw new Error(`an address is HOST:PORT, got "${address}"`);
  return { host: address.slice(0, at).replace(/^\[|\]$/g, "") || "0.0.0.0", port };
}
export const answer = (response: ServerResponse, value: unknown, status = 200): void => {
  if (response.headersSent) return;
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
};
