/**
 * Loaded into every Node process of a pod (`--require`): what a cluster's network and a machine's clock and disk do for
 * a container. It routes connections by name or address to the laboratory's links, answers look-ups of names, steps
 * the wall clock, and slows or fills a disk. Nothing of the daemons is replaced. Its settings are a JSON file, followed
 * while the process runs: {"routes": {"HOST:PORT": "HOST:PORT"}, "names": ["HOST"], "clockMs": 0, "disk": {...}}.
 */
import dns from "node:dns";
import fs from "node:fs";
import net from "node:net";

interface Settings {
  routes: Record<string, string>;
  /** Hosts of routes that the cluster's DNS must be asked for. */
  names?: string[];
  /** The DNS answers nothing about them. */
  namesSilent?: boolean;
  /** Added to the wall clock. */
  clockMs?: number;
  /** Writes below these folders. */
  disk?: { folders: string[]; full: boolean; delayMs: number };
}
const path = process.env.LAB_SETTINGS ?? "";
let settings: Settings = { routes: {} };
let seen = -1;
let checked = 0;
const monotonic = () => performance.now();

/** At most every 20 ms one stat. */
function current(): Settings {
  const now = monotonic();
  if (path === "" || (seen >= 0 && now - checked < 20)) return settings;
  checked = now;
  try {
    const { mtimeMs } = statSync(path);
    if (mtimeMs !== seen) {
      settings = JSON.parse(readFileSync(path, "utf8")) as Settings;
      seen = mtimeMs;
    }
  } catch {
    // Half written: the next call reads it.
  }
  return settings;
}
const { statSync, readFileSync } = fs;

// Network
type Connect = typeof net.Socket.prototype.connect;
const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (this: net.Socket, ...args: unknown[]) {
  const first: unknown = args[0];
  const holder = Array.isArray(first) ? (first as unknown[]) : args;
  const options = holder[0];
  if (typeof options === "object" && options !== null && "port" in options) {
    const { host, port } = options as { host?: string; port: number | string };
    const route = current().routes[`${host ?? "localhost"}:${port}`];
    if (route !== undefined) {
      const at = route.lastIndexOf(":");
      const named = current().names?.includes(host ?? "") ? host : route.slice(0, at);
      holder[0] = { ...options, host: named, port: Number(route.slice(at + 1)) };
    }
  }
  return (connect as (...args: unknown[]) => net.Socket).apply(this, args);
} as Connect;

// Names: all ways of a pod begin at one address.
type Found = (error: NodeJS.ErrnoException | null, address?: unknown, family?: number) => void;
const resolve = dns.lookup as unknown as (name: string, options: { all?: boolean }, found: Found) => void;
/** As a resolver whose questions nobody answers. */
const resolverGivesUpMs = 20_000;
const lookUp = (name: string, options: { all?: boolean }, found: Found): void => {
  const { names = [], namesSilent, routes } = current();
  if (!names.includes(name)) return resolve(name, options, found);
  if (namesSilent) {
    const error = Object.assign(new Error(`getaddrinfo EAI_AGAIN ${name}`), { code: "EAI_AGAIN", hostname: name });
    return void setTimeout(() => found(error), resolverGivesUpMs).unref();
  }
  const [, route = ""] = Object.entries(routes).find(([key]) => key.startsWith(`${name}:`)) ?? [];
  const address = route.slice(0, route.lastIndexOf(":"));
  process.nextTick(() => (options.all ? found(null, [{ address, family: 4 }]) : found(null, address, 4)));
};
Object.assign(dns, {
  lookup: (name: string, ...rest: unknown[]) =>
    lookUp(name, typeof rest[0] === "object" ? (rest[0] as { all?: boolean }) : {}, rest.at(-1) as Found),
});

// Wall clock
const RealDate = Date;
const realNow = Date.now.bind(Date);
const offset = () => current().clockMs ?? 0;
globalThis.Date = new Proxy(RealDate, {
  construct: (target, args: unknown[], newTarget) =>
    args.length === 0 ? new target(realNow() + offset()) : (Reflect.construct(target, args, newTarget) as Date),
  get: (target, key, receiver) =>
    key === "now" ? () => realNow() + offset() : (Reflect.get(target, key, receiver) as unknown),
});

// Disk
const touches = (file: unknown): Settings["disk"] => {
  const { disk } = current();
  return disk && typeof file === "string" && disk.folders.some((folder) => file.startsWith(folder)) ? disk : undefined;
};
const noSpace = (file: string) =>
  Object.assign(new Error(`ENOSPC: no space left on device, write '${file}'`), {
    code: "ENOSPC",
    errno: -28,
    syscall: "write",
  });
const block = (ms: number) => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
const writes = (flags: unknown) =>
  typeof flags === "number" ? (flags & 3) !== 0 : typeof flags === "string" && /[wa+]/.test(flags);

const { openSync, writeFileSync } = fs;
const { open, writeFile, statfs } = fs.promises;
const before = (file: unknown, writing: boolean) => {
  const disk = writing ? touches(file) : undefined;
  if (disk?.delayMs) block(disk.delayMs);
  if (disk?.full) throw noSpace(String(file));
};
const beforeAsync = async (file: unknown, writing: boolean) => {
  const disk = writing ? touches(file) : undefined;
  if (disk?.delayMs) await new Promise((resolve) => setTimeout(resolve, disk.delayMs));
  if (disk?.full) throw noSpace(String(file));
};
Object.assign(fs, {
  openSync: (...args: Parameters<typeof openSync>) => {
    before(args[0], writes(args[1]));
    return openSync(...args);
  },
  writeFileSync: (...args: Parameters<typeof writeFileSync>) => {
    before(args[0], true);
    return writeFileSync(...args);
  },
});
Object.assign(fs.promises, {
  open: async (...args: Parameters<typeof open>) => {
    await beforeAsync(args[0], writes(args[1]));
    return open(...args);
  },
  writeFile: async (...args: Parameters<typeof writeFile>) => {
    await beforeAsync(args[0], true);
    return writeFile(...args);
  },
  statfs: async (file: string) => {
    const answer = await statfs(file);
    return touches(file)?.full ? Object.assign(answer, { bavail: 0, bfree: 0 }) : answer;
  },
});
