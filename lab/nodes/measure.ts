/**
 * What one event costs a cluster of nodes: who holds the lease next and after how long, and which levels our
 * delegate missed.
 */
import { loadavg } from "node:os";
import type { Violation } from "../checker/checker";
import { blockMs, type NodesCluster } from "./cluster";
import { sleep, until } from "./wait";

export interface Row {
  /** Name of the case, and of the laboratory's scenario for the same event, if it has one. */
  name: string;
  scenario: string | null;
  event: string;
  /** `planned` = somebody asked for it; `loss` = something broke. Each has a goal. */
  kind: "planned" | "loss" | "other";
  /** Seconds after the begin of the block at which it happened; null where it does not matter. */
  atSeconds: number | null;
  /** Until the lease had its next holder; null where the holder stayed. */
  nextHolderSeconds: number | null;
  /** Until our delegate's next attestation was accepted. */
  signsSeconds: number | null;
  missedLevels: number;
  violations: number;
  /** Of the machine over a minute, at the end; null where nobody noted it. */
  load: number | null;
  /** What else was seen. */
  note: string;
}
export interface Event {
  name: string;
  scenario?: string;
  event: string;
  kind: Row["kind"];
  atSeconds?: number;
  /** Before the measurement. */
  prepare?(cluster: NodesCluster, holder: string): Promise<void>;
  /**
   * Does it; what it returns is done when the next holder signs (or, without one to come, at once), for instance
   * to repair.
   */
  act(cluster: NodesCluster, holder: string): Promise<(() => Promise<string | void>) | void>;
  /** Whether another tenure must come before the repair. @default true */
  moves?: boolean;
  /** Longest wait for the baker to be whole again. @default 150 s */
  wholeMs?: number;
}

/** Every baking pod is ready, and the last two decided levels, those from `from` on, were attested. */
export async function calm(cluster: NodesCluster, timeoutMs = 240_000, from = cluster.chain.head.level): Promise<void> {
  const { chain } = cluster;
  await until(
    "every pod is ready and the baker signs",
    () => {
      const pods = cluster.bakingPods;
      const decided = chain.levels.filter(({ attestationMissed }) => attestationMissed !== null).slice(-2);
      return (
        pods.length > 0 &&
        // The tunnels to the signer, too: a machine that came back has none for some seconds.
        cluster.ours.every(({ ready, deleting }) => ready && !deleting) &&
        decided.every(({ attestedBy, level }) => attestedBy !== null && level >= from) &&
        (chain.levels.at(-1)?.attestedBy ?? null) !== null
      );
    },
    timeoutMs,
  ).catch((error: Error) => {
    throw new Error(`${error.message}\n${stateOf(cluster)}`);
  });
}
/** For people: what the pods are doing. */
export const stateOf = (cluster: NodesCluster): string =>
  [
    ...cluster.ours.map(
      ({ name, node, phase, ready, deleting, containers }) =>
        `${name} on ${node}: ${phase}${ready ? ", ready" : ""}${deleting ? ", deleted" : ""}: ` +
        containers
          .map((one) => `${one.name} ${one.ready ? "ready" : one.waiting || "not ready"} ${one.restarts}`)
          .join(", "),
    ),
    `holder ${cluster.holder || "nobody"}, head ${cluster.chain.head.level}, ${cluster.record.signed.length} signatures`,
  ].join("\n");

/** Waits for the given moment of the next block. */
async function moment(cluster: NodesCluster, seconds: number): Promise<void> {
  const { chain } = cluster;
  const level = chain.head.level;
  await until("the next block", () => chain.head.level > level, 5 * blockMs);
  await sleep(chain.head.atMs + seconds * 1000 - Date.now());
}

export async function measure(cluster: NodesCluster, of: Event): Promise<Row & { found: Violation[] }> {
  const { chain, record } = cluster;
  await calm(cluster, undefined, 0);
  await of.prepare?.(cluster, cluster.holder);
  if (of.atSeconds !== undefined) await moment(cluster, of.atSeconds);
  const holder = cluster.holder;
  const last = record.tenures.at(-1);
  const { level } = chain.head;
  const headAttested = (chain.levels.at(-1)?.attestedBy ?? null) !== null;
  const fromMs = Date.now();
  const votes: number[] = [];
  const onVote = ({ kind, late }: { kind: string; late: boolean }) => {
    if (kind !== "preattestation" && !late) votes.push(Date.now());
  };
  chain.on("vote", onVote);
  try {
    const undo = await of.act(cluster, holder);
    const next = () => record.tenures.find((tenure) => tenure.atMs > fromMs && tenure.holder !== "" && tenure !== last);
    if (of.moves ?? true) {
      await until("another tenure", () => next() !== undefined, of.wholeMs ?? 150_000);
      await until("the next signature", () => votes.some((at) => at > (next()?.atMs ?? 0)), of.wholeMs ?? 150_000);
    }
    const note = (await undo?.()) ?? "";
    await calm(cluster, of.wholeMs ?? 150_000);
    const tenure = next();
    const signs = votes.find((at) => at > (tenure?.atMs ?? fromMs));
    const found = cluster.verdict();
    const seconds = (at: number | undefined) => (at === undefined ? null : Math.round((at - fromMs) / 10) / 100);
    return {
      ...{ name: of.name, scenario: of.scenario ?? null, event: of.event, kind: of.kind },
      ...{ atSeconds: of.atSeconds ?? null, nextHolderSeconds: seconds(tenure?.atMs), signsSeconds: seconds(signs) },
      missedLevels: chain.missedSince(headAttested ? level : level - 1),
      ...{ violations: found.length, load: Number((loadavg()[0] ?? 0).toFixed(1)), note, found },
    };
  } catch (error) {
    throw new Error(`${of.name}: ${error instanceof Error ? error.message : String(error)}\n${stateOf(cluster)}`);
  } finally {
    chain.off("vote", onVote);
  }
}
