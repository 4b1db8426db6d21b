/**
 * Writers beside the importer's: an independent one in Python, whose fcntl.lockf is what OCaml's Unix.lockf is, and the
 * workloads of the lock and kill tests.
 */
import { fork, spawn, spawnSync, type ChildProcess } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../daemons/runtime/clock";
import { Writer } from "../../daemons/nonce-importer/writer";
import type { MergeJob } from "../../daemons/nonce-importer/merge-folder";
import { parseStateful, type SeedNonce } from "../../tezos/nonces";
import { bundlePath } from "./bundle";
import { chainId, makeNonce, readStateful, statefulFile, writeStateful } from "./nonce-pods";

export const python = spawnSync("python3", ["-c", "import fcntl"]).status === 0;

/**
 * argv: folder, file of nonces (JSON list), `lockf` or `flock`, milliseconds of thinking under the lock. For each line
 * on stdin ("go COUNT" or "end") it adds COUNT nonces, one locked read-modify-write each, drops what is older than 3
 * cycles, and says which of its own of the last cycles had vanished.
 */
const script = `
import fcntl, json, os, random, sys, time
folder, source, kind, think = sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4]) / 1000
path = os.path.join(folder, "${statefulFile}")
entries = json.load(open(source))
lock = open(os.path.join(folder, "wallet_lock"), "a+")
take = fcntl.lockf if kind == "lockf" else fcntl.flock
mine, lost, done, longest = {}, 0, 0, 0.0
started = time.monotonic()
print("ready", flush=True)
for order in sys.stdin:
    if order.strip() == "end": break
    for _ in range(int(order.split()[1])):
        if done >= len(entries): break
        asked = time.monotonic()
        take(lock, fcntl.LOCK_EX)
        longest = max(longest, time.monotonic() - asked)
        try: present = json.load(open(path))
        except FileNotFoundError: present = []
        cycle = int((time.monotonic() - started) / 2)
        hashes = {e["hash"] for e in present}
        for h, c in list(mine.items()):
            if c < cycle - 2: del mine[h]
            elif h not in hashes: lost += 1; del mine[h]
        entry = dict(entries[done], cycle=cycle); done += 1
        mine[entry["hash"]] = cycle
        present = [e for e in present if e["cycle"] >= cycle - 3] + [entry]
        time.sleep(think)
        with open(path + ".python", "w") as f: json.dump(present, f)
        os.rename(path + ".python", path)
        take(lock, fcntl.LOCK_UN)
        time.sleep(random.random() * 0.006)
    print(json.dumps({"done": done, "lost": lost, "longest_wait_ms": longest * 1000}), flush=True)
`;

export interface PythonWriter {
  go(count: number): Promise<{ done: number; lost: number; longest_wait_ms: number }>;
  end(): Promise<void>;
}
export async function pythonWriter(
  folder: string,
  nonces: readonly SeedNonce[],
  kind: "lockf" | "flock",
  thinkMs = 0,
): Promise<PythonWriter> {
  const source = join(folder, `${kind}-source.json`);
  writeFileSync(source, JSON.stringify(nonces));
  const child = spawn("python3", ["-c", script, folder, source, kind, String(thinkMs)], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const waiting: ((text: string) => void)[] = [];
  let rest = "";
  child.stdout.on("data", (chunk: Buffer) => {
    const lines = (rest + chunk.toString()).split("\n");
    rest = lines.pop() ?? "";
    for (const text of lines) waiting.shift()?.(text);
  });
  const next = (): Promise<string> => new Promise((resolve) => waiting.push(resolve));
  await next();
  return {
    go: async (count) => {
      const answer = next();
      child.stdin.write(`go ${count}\n`);
      return JSON.parse(await answer) as { done: number; lost: number; longest_wait_ms: number };
    },
    end: () =>
      new Promise((resolve) => {
        child.on("exit", () => resolve());
        child.stdin.end("end\n");
      }),
  };
}

/** The importer's writer from the bundle, and its current process. */
export async function realWriter(
  killMs = 5000,
  idleMs?: number,
): Promise<{ writer: Writer; current: () => ChildProcess | undefined }> {
  const bundle = await bundlePath();
  let latest: ChildProcess | undefined;
  const writer = new Writer(
    killMs,
    () =>
      (latest = fork(bundle, ["nonce-importer", "writer"], {
        execArgv: [],
        stdio: ["ignore", "inherit", "inherit", "ipc"],
      })),
    undefined,
    idleMs,
  );
  return { writer, current: () => latest };
}

export const job = (clientDir: string, stateful: SeedNonce[], overrides: Partial<MergeJob> = {}): MergeJob => ({
  clientDir,
  chainId,
  remote: { stateful, legacy: [] },
  currentCycle: undefined,
  keepCycles: 2,
  lockHoldMs: 100,
  lockWaitMs: 600,
  ...overrides,
});

export interface InterplayResult {
  baker: number;
  importer: number;
  lostOfBaker: number;
  lostOfImporter: number;
  /** Writers that were killed at the lock, or were not ready in time: only on a machine that has no processor left. */
  killed: number;
  medianHoldMs: number;
  p99HoldMs: number;
  longestHoldMs: number;
  longestWaitOfBakerMs: number;
}

/**
 * Both sides write into one folder for `seconds`; each looks whether what it wrote in the last cycles (2 s each) is
 * still there.
 */
export async function interplay(folder: string, seconds: number): Promise<InterplayResult> {
  const { writer } = await realWriter();
  const baker = await pythonWriter(
    folder,
    Array.from({ length: Math.ceil(seconds * 250) + 1000 }, () => makeNonce()),
    "lockf",
  );
  const result: InterplayResult = {
    baker: 0,
    importer: 0,
    lostOfBaker: 0,
    lostOfImporter: 0,
    killed: 0,
    medianHoldMs: 0,
    p99HoldMs: 0,
    longestHoldMs: 0,
    longestWaitOfBakerMs: 0,
  };
  const started = systemClock.now();
  const elapsed = (): number => (systemClock.now() - started) / 1000;
  // On a busy machine a short run goes on until there was something to see.
  const going = (): boolean =>
    elapsed() < seconds || (elapsed() < seconds + 45 && Math.min(result.importer, result.baker) < 10);
  const bakerSide = (async () => {
    while (going()) {
      const { done, lost, longest_wait_ms } = await baker.go(20);
      Object.assign(result, { baker: done, lostOfBaker: lost, longestWaitOfBakerMs: longest_wait_ms });
    }
  })();
  const mine = new Map<string, number>();
  const holds: number[] = [];
  while (going()) {
    const cycle = Math.floor(elapsed() / 2);
    const entry = makeNonce({ cycle });
    const outcome = await writer.run(job(folder, [entry]));
    if ("heldMs" in outcome && outcome.heldMs > 0) holds.push(outcome.heldMs);
    if (outcome.outcome === "written") {
      result.importer++;
      mine.set(entry.hash, cycle);
    } else if (outcome.outcome === "killed" || outcome.reason.startsWith("no writer within")) result.killed++;
    else if (outcome.outcome !== "busy") throw new Error(outcome.reason);
    const present = new Set(readStateful(folder).map(({ hash }) => hash));
    for (const [hash, itsCycle] of mine)
      if (itsCycle < cycle - 1) mine.delete(hash);
      else if (!present.has(hash)) {
        result.lostOfImporter++;
        mine.delete(hash);
      }
  }
  await bakerSide;
  holds.sort((a, b) => a - b);
  const at = (share: number): number => holds[Math.min(holds.length - 1, Math.floor(share * holds.length))] ?? 0;
  Object.assign(result, {
    lostOfBaker: (await baker.go(1)).lost,
    medianHoldMs: at(0.5),
    p99HoldMs: at(0.99),
    longestHoldMs: at(1),
  });
  await baker.end();
  await writer.close();
  return result;
}

export interface KillResult {
  kills: number;
  old: number;
  new: number;
  torn: number;
  /** Temporary files after the last, undisturbed merge. */
  leftovers: number;
}

/** Kills the writer `kills` times at a random moment of its work; after each the file must be complete, old or new. */
export async function killWriter(
  folder: string,
  kills: number,
  random: () => number,
  entries = 200,
): Promise<KillResult> {
  const { writer, current } = await realWriter();
  writeStateful(
    folder,
    Array.from({ length: entries }, (_, seed) => makeNonce({ seed })),
  );
  const result: KillResult = { kills: 0, old: 0, new: 0, torn: 0, leftovers: 0 };
  const timed = systemClock.now();
  await writer.run(job(folder, [makeNonce()]));
  await writer.run(job(folder, [makeNonce()]));
  let usualMs = (systemClock.now() - timed) / 2;
  while (result.kills < kills) {
    const before = readFileSync(join(folder, statefulFile), "utf8");
    const entry = makeNonce();
    const running = writer.run(job(folder, [entry]));
    const victim = current();
    // The moment is counted from where the writer has its job: a new process needs time to become ready.
    const started = systemClock.now();
    const at = random() * usualMs * 1.2;
    const timer = setTimeout(() => victim?.kill("SIGKILL"), at);
    const outcome = await running;
    clearTimeout(timer);
    if (outcome.outcome !== "killed") {
      usualMs = 0.9 * usualMs + 0.1 * (systemClock.now() - started);
      continue;
    }
    result.kills++;
    const after = readFileSync(join(folder, statefulFile), "utf8");
    try {
      const present = new Set(parseStateful(after).map(({ hash }) => hash));
      if (after === before) result.old++;
      else if (present.has(entry.hash) && parseStateful(before).every(({ hash }) => present.has(hash))) result.new++;
      else result.torn++;
    } catch {
      result.torn++;
    }
    await writer.run(job(folder, []));
  }
  await writer.run(job(folder, [makeNonce()]));
  result.leftovers = readdirSync(folder).filter((name) => name.endsWith(".tmp")).length;
  await writer.close();
  return result;
}
