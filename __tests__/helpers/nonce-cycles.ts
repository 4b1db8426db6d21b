/**
 * Three accelerated cycles on two pods with a small double of octez-baker (its nonce handling only: lock, read, add or
 * reveal, temp and rename; no memory of its own) and switchovers at the worst moments. The same run with the
 * predecessor's way: the other's file every two minutes (20 blocks), the current cycle only.
 */
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { takeWalletLock } from "../../daemons/nonce-importer/lock";
import { systemClock } from "../../daemons/runtime/clock";
import { defaultTimings } from "../../contract/timings";
import { nonceHash, serialise, type SeedNonce } from "../../tezos/nonces";
import {
  createNoncePods,
  makeNonce,
  readStateful,
  statefulFile,
  until,
  type ChainState,
  type NoncePods,
} from "./nonce-pods";

const blocksPerCycle = 24;
const commitmentEvery = 4;
const revealThreshold = 8;
const copyEveryBlocks = 20;
const firstLevel = 13_000_800;
const leaseMs = defaultTimings.leaseSeconds * 1000;

interface Chain extends ChainState {
  /** Revelations that the chain accepted, by level. */
  reveals: Map<number, number>;
  committed: Map<number, string>;
}

/** The part of octez-baker that this is about. */
class BakerDouble {
  constructor(
    private readonly clientDir: string,
    private readonly chain: Chain,
  ) {}

  private async locked<T>(body: () => T): Promise<T> {
    const lock = await takeWalletLock(this.clientDir, 10_000, systemClock);
    if (!lock) throw new Error("the baker did not get its lock");
    try {
      return body();
    } finally {
      lock.release();
    }
  }
  private save(entries: SeedNonce[]): void {
    const path = join(this.clientDir, statefulFile);
    writeFileSync(`${path}.baker`, serialise(entries));
    renameSync(`${path}.baker`, path);
  }

  /** Sign the header, save the nonce, inject the block. */
  async commit(onSigned: (hash: string) => void): Promise<void> {
    const { level, cycle } = this.chain;
    const nonce = randomBytes(32).toString("hex");
    const entry = makeNonce({ nonce, level, cycle });
    onSigned(entry.hash);
    await this.locked(() => this.save([...readStateful(this.clientDir), entry]));
    this.chain.committed.set(level, entry.hash);
    this.chain.nonces.set(level, { hash: entry.hash });
  }

  /** At each new level: reveal what is due and drop what is past, as partition_unrevealed_nonces does. */
  async newLevel(): Promise<void> {
    const { level, cycle } = this.chain;
    await this.locked(() => {
      const due: SeedNonce[] = [];
      const live: SeedNonce[] = [];
      for (const entry of readStateful(this.clientDir)) {
        if (entry.cycle === cycle) live.push(entry);
        if (entry.cycle !== cycle - 1 || level % blocksPerCycle >= revealThreshold) continue;
        const known = this.chain.nonces.get(entry.level);
        if (!known || !("hash" in known) || known.hash !== entry.hash) continue;
        if (entry.state === "committed" || level - entry.state.injection_level > 2) due.push(entry);
        else live.push(entry);
      }
      if (due.length === 0) return;
      for (const entry of due) {
        if (nonceHash(entry.nonce) !== this.chain.committed.get(entry.level)) continue;
        this.chain.reveals.set(entry.level, (this.chain.reveals.get(entry.level) ?? 0) + 1);
        this.chain.nonces.set(entry.level, { nonce: entry.nonce });
      }
      this.save([...live, ...due.map((entry) => ({ ...entry, state: { injection_level: level } }))]);
    });
  }
}

export interface CyclesResult {
  commitments: number;
  revealedOnce: number;
  revealedTwice: number;
  lost: number;
  switchovers: number;
}

/**
 * Levels within three cycles at whose end the mastership moves, and how: planned, crash (only the baker dies), pod (all
 * its processes are killed).
 */
const switchovers: [number, "planned" | "crash" | "pod", string][] = [
  [3, "crash", "right after a commitment"],
  [11, "planned", "right after a commitment"],
  [23, "crash", "at the cycle's edge"],
  [25, "planned", "in the reveal window"],
  [35, "pod", "right after a commitment"],
  [47, "planned", "at the cycle's edge"],
  [49, "crash", "in the reveal window"],
  [71, "crash", "at the last cycle's edge"],
];

interface Way {
  clientDirs: [string, string];
  chain: Chain;
  signed(master: 0 | 1, hash: string): void;
  afterBlock(index: number): Promise<void>;
  handOver(from: 0 | 1, kind: "planned" | "crash" | "pod"): Promise<void>;
}

async function run(way: Way, blockMs: number): Promise<CyclesResult> {
  const { chain } = way;
  const bakers = way.clientDirs.map((dir) => new BakerDouble(dir, chain));
  let master: 0 | 1 = 0;
  const blocks = 3 * blocksPerCycle + revealThreshold;
  for (let index = 0; index < blocks; index++) {
    chain.level = firstLevel + index;
    chain.cycle = Math.floor(chain.level / blocksPerCycle);
    const started = systemClock.now();
    await bakers[master]?.newLevel();
    if (index < 3 * blocksPerCycle && index % commitmentEvery === commitmentEvery - 1) {
      const now = master;
      await bakers[master]?.commit((hash) => way.signed(now, hash));
    }
    await way.afterBlock(index);
    const move = switchovers.find(([at]) => at === index);
    if (move) {
      await way.handOver(master, move[1]);
      master = master === 0 ? 1 : 0;
    }
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, blockMs - (systemClock.now() - started))));
  }
  const counts = [...chain.committed.keys()].map((level) => chain.reveals.get(level) ?? 0);
  return {
    commitments: counts.length,
    revealedOnce: counts.filter((count) => count === 1).length,
    revealedTwice: counts.filter((count) => count > 1).length,
    lost: counts.filter((count) => count === 0).length,
    switchovers: switchovers.length,
  };
}

export async function runOurs(blockMs: number): Promise<CyclesResult> {
  const world: NoncePods = await createNoncePods();
  try {
    const [a, b] = world.pods;
    if (!a || !b) throw new Error("two pods");
    const chain: Chain = Object.assign(world.chain, { reveals: new Map(), committed: new Map() });
    for (const pod of [a, b]) pod.start();
    await until(
      "exchange",
      async () => (await a.status("importer"))?.reconciled && (await b.status("importer"))?.reconciled,
    );
    let down: typeof a | undefined;
    return await run(
      {
        clientDirs: [a.clientDir, b.clientDir],
        chain,
        signed: (master, seedNonceHash) =>
          void (master === 0 ? a : b).commitments.push({
            address: "tz1",
            level: chain.level,
            round: 0,
            seedNonceHash,
            atMs: 0,
          }),
        afterBlock: () => Promise.resolve(),
        async handOver(from, kind) {
          const old = from === 0 ? a : b;
          if (down) {
            // A pod that has just come back is not eligible before its nonces are exchanged.
            const back = down;
            down = undefined;
            back.start();
            await until("exchange after the return", async () => (await back.status("importer"))?.reconciled);
          }
          if (kind === "planned") {
            old.setNonces("final");
            await until("final push", async () => (await old.status("exposer"))?.finalPushed, leaseMs).catch(
              () => undefined,
            );
            old.setNonces("follow");
            return;
          }
          // Nobody takes over before the lease has run out; what was pushed by then has arrived.
          const theirs = (from === 0 ? b : a).clientDir;
          const arrived = (): boolean => {
            const there = new Set(readStateful(theirs).map(({ hash }) => hash));
            return readStateful(old.clientDir).every(({ hash }) => there.has(hash));
          };
          await until("push", arrived, leaseMs).catch(() => undefined);
          if (kind === "pod") {
            await old.kill();
            down = old;
          }
        },
      },
      blockMs,
    );
  } finally {
    await world.close();
  }
}

/** @param blockMs as for the other way: the copy comes every 20 blocks, as two minutes are to blocks of 6 s */
export async function runPredecessors(blockMs: number): Promise<CyclesResult> {
  const folder = mkdtempSync(join(tmpdir(), "tog-copy-"));
  const dirs: [string, string] = [join(folder, "0"), join(folder, "1")];
  for (const dir of dirs) mkdirSync(dir);
  const chain: Chain = { level: firstLevel, cycle: 0, nonces: new Map(), reveals: new Map(), committed: new Map() };
  try {
    return await run(
      {
        clientDirs: dirs,
        chain,
        signed: () => undefined,
        afterBlock: (index) => {
          if (index % copyEveryBlocks !== copyEveryBlocks - 1) return Promise.resolve();
          const contents = dirs.map((dir) =>
            existsSync(join(dir, statefulFile))
              ? (JSON.parse(readFileSync(join(dir, statefulFile), "utf8")) as SeedNonce[])
              : [],
          );
          dirs.forEach((dir, mine) => {
            const own = contents[mine] ?? [];
            const news = (contents[1 - mine] ?? []).filter(
              (entry) => entry.cycle === chain.cycle && !own.some(({ hash }) => hash === entry.hash),
            );
            if (news.length > 0) writeFileSync(join(dir, statefulFile), JSON.stringify([...own, ...news]));
          });
          return Promise.resolve();
        },
        handOver: () => Promise.resolve(),
      },
      blockMs,
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
