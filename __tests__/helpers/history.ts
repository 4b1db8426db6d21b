/**
 * What `npm run baker -- history` and the sidecars' metrics say of a laboratory, beside what the laboratory's own chain
 * has: which levels were missed, in which transitions, and when these were.
 */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { missedKinds, mostMissedSlots, type MissedSlot } from "../../contract/status";
import { ports } from "../../contract/ports";
import type { Receipt } from "../../contract/receipt";
import type { Lab } from "../../lab/lab";
import { transitionsOf, wronglyCounted, type Transition } from "../../lab/scenarios/receipt";
import { commandPath } from "./bundle";

type Kind = MissedSlot["kind"];
export interface Told {
  /** Newest first; `acquiredAt` as the text shows it. */
  receipts: (Receipt & { acquiredAt: string })[];
  missedSlots: MissedSlot[];
}

/** The real command, through the kubeconfig. @throws Error with what it said where it ends with another code than 0 */
export async function history(lab: Lab, ...options: string[]): Promise<string> {
  const words = [await commandPath("baker"), "history", ...options];
  const env = { ...process.env, KUBECONFIG: lab.cluster.kubeconfig };
  return (await promisify(execFile)(process.execPath, words, { env, cwd: lab.folder, timeout: 60_000 })).stdout;
}
export const historyOf = async (lab: Lab): Promise<Told> => JSON.parse(await history(lab, "--json")) as Told;

/** Slots that a sidecar has counted as missed since its start, by kind. */
export interface Counted extends Record<Kind, number> {
  pod: string;
  /** Another one where the sidecar has started anew. */
  life: string;
  /** The block up to which it has counted; -1 before the first one. */
  level: number;
}
export async function countedBySidecars(lab: Lab): Promise<Counted[]> {
  const members = lab.cluster.bakingMembers();
  const all = members.map(async ({ pod }): Promise<Counted[]> => {
    const text = await fetch(`http://${pod.options.address}:${ports.sidecar}/metrics`, {
      signal: AbortSignal.timeout(10_000),
    })
      .then((answer) => answer.text())
      .catch(() => undefined);
    if (text === undefined) return [];
    const of = (kind: Kind): number =>
      [...text.matchAll(/^tog_sidecar_slots_total\{(.*)\} (\d+)$/gm)]
        .filter(([, labels]) => labels?.includes(`kind="${kind}"`))
        .reduce((sum, [, , value]) => sum + Number(value), 0);
    const restarts = pod.containers.find(({ spec }) => spec.name === "sidecar")?.restarts ?? 0;
    const level = Number(/^tog_sidecar_slots_counted_level\{.*\} (\d+)$/m.exec(text)?.[1] ?? -1);
    return [
      { level, pod: pod.name, life: `${pod.uid}/${restarts}`, attestation: of("attestation"), block: of("block") },
    ];
  });
  return (await Promise.all(all)).flat();
}

/** What the laboratory knows, from the level before the first fault up to the last one that is decided. */
export interface Chain {
  missed: Record<Kind, number[]>;
  faultAtMs: number;
  transitions: Transition[];
}
export function chainOf(lab: Lab, from: number, to: number, epoch: number, receipts: readonly Receipt[]): Chain {
  const levels = lab.chain.levels.filter(({ level }) => level > from && level <= to);
  const fault = lab.events.find(({ source, event }) => source === "fault" && !event.endsWith("-ended"));
  return {
    missed: {
      attestation: levels.filter((record) => record.attestationMissed === true).map(({ level }) => level),
      block: levels.filter((record) => record.blockMissed).map(({ level }) => level),
    },
    faultAtMs: fault?.atMs ?? Infinity,
    transitions: transitionsOf(lab, epoch, receipts),
  };
}

/** What a sentence begins with that an exception can explain. */
export const notListed = "history does not list";

/** What `history` says that the chain has not, and what it does not say. Empty where they agree. Pure. */
export function disagreements(chain: Chain, told: Told, from: number, to: number): string[] {
  // Each sidecar remembers its last ones only.
  const forgotten =
    told.missedSlots.length < mostMissedSlots ? from : Math.min(...told.missedSlots.map(({ level }) => level));
  const levels = missedKinds.flatMap((kind) => {
    const has = new Set(chain.missed[kind].filter((level) => level > forgotten));
    const said = told.missedSlots.filter(
      (slot) => slot.kind === kind && slot.level > Math.max(from, forgotten) && slot.level <= to,
    );
    const listed = new Set(said.map(({ level }) => level));
    const absent = [...has].filter((level) => !listed.has(level));
    const invented = [...listed].filter((level) => !has.has(level));
    return [
      ...(absent.length > 0 ? [`${notListed} the missed ${kind}s of ${absent.join(", ")}`] : []),
      ...(invented.length > 0 ? [`history lists ${kind}s that were not missed: ${invented.join(", ")}`] : []),
    ];
  });
  const early = chain.transitions
    .map(({ receipt }) => told.receipts.find(({ epoch }) => epoch === receipt.epoch))
    .filter((receipt) => receipt !== undefined && !(Date.parse(receipt.acquiredAt) >= chain.faultAtMs))
    .map((receipt) => `the receipt of epoch ${receipt?.epoch} is of ${receipt?.acquiredAt}, before the fault`);
  return [...levels, ...wronglyCounted(chain.transitions), ...early];
}
