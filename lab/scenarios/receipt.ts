/** The receipt of a scenario: what a run showed, against what it promises. */
import * as z from "zod/mini";
import { annotations, leaderLeaseName, watermarkDataKey, watermarkName } from "../../contract/names";
import { firstAttestationLevel, receiptSchema, type Receipt } from "../../contract/receipt";
import { readWatermark } from "../../contract/watermark";
import { eventSentence } from "../../diagnosis/events";
import type { Lab } from "../lab";
import type { Signature } from "../lab-record";
import type { Scenario } from "./scenario";

export interface TimelineEntry {
  /** Since the first fault. */
  atMs: number;
  pod: string;
  event: string;
  reason: string;
  /** The same as a sentence. */
  text: string;
}
/** What a run showed. Times are real milliseconds and seconds of this run; `scale` relates them to 6 s blocks. */
export interface ScenarioReceipt {
  scenario: string;
  /** All invariants held: no violation, no overlap, recovery, the expected daemon signs. */
  ok: boolean;
  missedLevels: number;
  /** These levels. */
  missed: number[];
  /** From the last signature before the change of daemon to the first after it; without one the longest silence. */
  failoverSeconds: number;
  /** From the first fault until another daemon was ready to sign; null where none was started. */
  takeoverSeconds: number | null;
  /** From the end of the fault to a new tenure; null where there was none. */
  tenureSeconds: number | null;
  violations: string[];
  timeline: TimelineEntry[];
  problems: string[];
  goal: { missedLevels: number | null; takeoverSeconds: number | null; tenureSeconds: number | null; met: boolean };
  overlapMs: number;
  epochs: { before: number; after: number };
  from: string;
  to: string;
  cause: string;
  nonces: { committed: number; revealed: number; lost: number };
  /** Slots of the DAL that could be attested; those lost, and at how many levels, where we attested without them. */
  dal: { attestable: number; lostSlots: number; lostLevels: number };
  signatures: number;
  /** Longest time for which this machine did not schedule the laboratory: what is of that order says nothing. */
  longestStallMs: number;
  blockSeconds: number;
  scale: number;
  /** Declared start time D of the doubles, in seconds of this run. */
  doubleStartSeconds: number;
  seed: string;
  startedInSeconds: number;
}

/** Gap around each change of process, or the longest silence. */
export function failoverGap(
  signatures: readonly Signature[],
  fromMs: number,
): { seconds: number; from?: Signature; to?: Signature } {
  let longest: { seconds: number; from?: Signature; to?: Signature } = { seconds: 0 };
  let change: typeof longest | undefined;
  for (const [i, to] of signatures.entries()) {
    const from = signatures[i - 1];
    if (!from || to.atMs < fromMs) continue;
    const gap = { seconds: (to.atMs - from.atMs) / 1000, from, to };
    if ((from.pid !== to.pid || from.uid !== to.uid) && (!change || gap.seconds > change.seconds)) change = gap;
    if (gap.seconds > longest.seconds) longest = gap;
  }
  return change ?? longest;
}

const interesting = new Set([
  "process-ended",
  "process-started",
  "ready",
  "held",
  "released",
  "attestation-missed",
  "block-missed",
  "pod-created",
  "pod-gone",
  "state",
  "command",
  "daemon-killed",
  "daemon-stopping",
  "watermark",
  "refused",
  "container-exited",
  "container-unhealthy",
  "solo-start",
  "solo-end",
]);

/** The receipt's timeline: faults, transitions, first signatures, missed levels. */
export function timelineOf(lab: Lab, fromMs: number, limit = 200): TimelineEntry[] {
  const entries = lab.events
    .filter(
      (event) =>
        event.atMs >= fromMs - 5 &&
        (event.source === "fault" || interesting.has(event.event)) &&
        event.source !== "octez-signer",
    )
    .map((event) => ({
      atMs: Math.round(event.atMs - fromMs),
      pod: event.pod,
      event: `${event.source}: ${event.event}`,
      reason: event.reason.slice(0, 160),
      text: eventSentence(event) ?? `${event.event}: ${event.reason.slice(0, 160)}`,
    }));
  const firsts: TimelineEntry[] = [];
  let last: Signature | undefined;
  for (const signature of lab.signatures) {
    if (signature.atMs >= fromMs && last && signature.pid !== last.pid)
      firsts.push(
        {
          atMs: Math.round(last.atMs - fromMs),
          pod: last.pod,
          event: "last signature",
          reason: `${last.kind} of level ${last.level}`,
          text: `${last.pod} signs for the last time: the ${last.kind} of level ${last.level}.`,
        },
        {
          atMs: Math.round(signature.atMs - fromMs),
          pod: signature.pod,
          event: "first signature",
          reason: `${signature.kind} of level ${signature.level}`,
          text: `${signature.pod} signs for the first time: the ${signature.kind} of level ${signature.level}.`,
        },
      );
    last = signature;
  }
  return [...entries, ...firsts].sort((a, b) => a.atMs - b.atMs).slice(0, limit);
}

/** A receipt of the lease, and what the chain has between its masters. */
export interface Transition {
  receipt: Receipt;
  /** Levels missed from the last attestation that was marked before the tenure to its first one. */
  missed: number;
}
/**
 * The transitions after `epoch` whose receipts are to have a number of missed levels. The elector asks its node two
 * blocks after the first attestation, and writes with the next renewal: a tenure that is over by then has none.
 */
export function transitionsOf(lab: Lab, epoch: number, receipts: readonly Receipt[]): Transition[] {
  return receipts.flatMap((receipt) => {
    const to = firstAttestationLevel(receipt);
    const from = lab.markedBefore(lab.baker, receipt.epoch);
    const over = receipts.some((other) => other.epoch > receipt.epoch);
    if (receipt.epoch <= epoch || to === undefined || from < 0 || (receipt.missedLevels === null && over)) return [];
    const missed = lab.chain.levels.filter(
      ({ level, attestationMissed }) => level >= from && level <= to && attestationMissed === true,
    );
    return [{ receipt, missed: missed.length }];
  });
}

/** A sentence for each receipt with another number of missed levels than the chain, or with none. */
export const wronglyCounted = (transitions: readonly Transition[]): string[] =>
  transitions
    .filter(({ receipt, missed }) => receipt.missedLevels !== missed)
    .map(
      ({ receipt: { epoch, missedLevels }, missed }) =>
        `the receipt of epoch ${epoch} says ${missedLevels} missed levels, the chain ${missed}`,
    );

/** The same of the receipts after `epoch`, once they are counted. */
async function historyDisagrees(lab: Lab, epoch: number): Promise<string[]> {
  const transitions = () => {
    const notes = lab.object("leases", leaderLeaseName(lab.baker))?.metadata.annotations ?? {};
    const list = z.array(receiptSchema).safeParse(JSON.parse(notes[annotations.receipts] ?? "[]"));
    return transitionsOf(lab, epoch, list.data ?? []);
  };
  const counted = () => transitions().every(({ receipt }) => receipt.missedLevels !== null);
  // The elector asks its node again only after a while, and a busy machine needs more of it.
  const limitMs = Math.max(60_000, lab.scaled(120_000));
  await lab.until("the missed levels of the receipts", counted, limitMs).catch(() => undefined);
  return wronglyCounted(transitions());
}

/** What the new master said it acquired for. */
function causeOf(lab: Lab, fromMs: number): string {
  const acquired = lab.events.findLast(
    (event) => event.atMs >= fromMs && event.source === "elector" && event.event === "acquired",
  );
  return acquired?.reason ?? "";
}

/** What is known of a run once its steps have been played. */
export interface Played {
  /** Wall clock of the first fault. */
  t0: number;
  /** The last level that was decided or attested before. */
  level: number;
  before: { epoch: number; pod: string };
  /** When the first fault ended. */
  endedMs: number | undefined;
  problems: string[];
}
type Shown = Pick<ScenarioReceipt, "overlapMs" | "nonces" | "dal"> & {
  after: Played["before"];
  gap: ReturnType<typeof failoverGap>;
};

/** What speaks against a rotation in which nothing restarted. */
function keyNotChanged(lab: Lab, t0: number): [boolean, string][] {
  const address = lab.synthesis.bakers[0]?.next?.consensus.address ?? lab.synthesis.bakers[0]?.delegate ?? "";
  const object = lab.object("configmaps", watermarkName(address)) as { data?: Record<string, string> } | undefined;
  const reading = readWatermark(object?.data?.[watermarkDataKey]);
  const signed = reading.state === "record" ? (reading.record.marks.attestation?.level ?? -1) : -1;
  const young = lab.trace.intervals.filter(({ role, startMs }) => role === "octez-baker" && startMs > t0).length;
  return [
    [signed < lab.chain.head.level - 2, `the next key ${address} did not sign level ${lab.chain.head.level}`],
    [young > 0, `${young} baking daemons were started: an activation restarts nothing`],
  ];
}

/** Everything that the scenario expects and that is not so. */
function disappointments(lab: Lab, { expect, flag }: Scenario, played: Played, shown: Shown): string[] {
  const { t0, before, endedMs } = played;
  const { after, gap, overlapMs, nonces, dal } = shown;
  const changed = before.pod !== after.pod || (gap.from !== undefined && gap.from.uid !== gap.to?.uid);
  const moved = changed || (flag && before.epoch !== after.epoch);
  const during = lab.signatures.filter(({ atMs }) => atMs > t0 + lab.scaled(500) && atMs < (endedMs ?? t0)).length;
  const rules: [boolean, string][] = [
    [expect.failover === "yes" && !changed, `${before.pod} still signs: another pod was to take over`],
    [
      expect.failover === "no" && moved,
      `${after.pod} signs in epoch ${after.epoch}: ${before.pod} was to go on in epoch ${before.epoch}`,
    ],
    [expect.overlapMs !== null && overlapMs > expect.overlapMs, `two daemons ran for ${overlapMs} ms together`],
    [expect.nonces && nonces.lost > 0, `${nonces.lost} of ${nonces.committed} commitments were not revealed`],
    [expect.nonces && nonces.revealed === 0, "nothing was revealed: the run shows nothing"],
    [dal.lostLevels > (expect.dalLostLevels ?? Infinity), `${dal.lostSlots} slots of the DAL were lost`],
    ...(expect.nextKey ? keyNotChanged(lab, t0) : []),
    [expect.silent && during > 0, `${during} signatures while nothing was to be signed`],
  ];
  return rules.filter(([broken]) => broken).map(([, text]) => text);
}

/** What became of the DAL's slots at the levels after `level`. */
function dalOf(lab: Lab, level: number): ScenarioReceipt["dal"] {
  const ours = lab.chain.levels.filter((record) => record.level > level && record.attestationMissed === false);
  const lost = ours.map((record) => record.dalAttestable - record.dalAttested).filter((slots) => slots > 0);
  return {
    attestable: ours.reduce((sum, { dalAttestable }) => sum + dalAttestable, 0),
    lostSlots: lost.reduce((sum, slots) => sum + slots, 0),
    lostLevels: lost.length,
  };
}

/** Seconds from the first fault to another daemon, and from the fault's end to a new tenure. */
function secondsOf(lab: Lab, { t0, endedMs }: Played): Pick<ScenarioReceipt, "takeoverSeconds" | "tenureSeconds"> {
  const since = (fromMs: number, atMs: number | null | undefined) =>
    atMs ? Number(((atMs - fromMs) / 1000).toFixed(3)) : null;
  const young = lab.trace.intervals.find(
    (interval) => interval.role === "octez-baker" && interval.startMs > t0 && interval.readyMs !== null,
  );
  const held = lab.events.find(
    (event) => event.source === "lease" && event.event === "held" && event.atMs >= (endedMs ?? Infinity),
  );
  return { takeoverSeconds: since(t0, young?.readyMs), tenureSeconds: since(endedMs ?? 0, held?.atMs) };
}

/** The scenario's promises, in the time of this run. */
function goalOf(
  lab: Lab,
  scenario: Scenario,
  got: Pick<ScenarioReceipt, "missedLevels" | "takeoverSeconds" | "tenureSeconds">,
): ScenarioReceipt["goal"] {
  const promised = (seconds: number | undefined) =>
    seconds === undefined ? null : Number((seconds * lab.scale).toFixed(3));
  const goal = {
    missedLevels: scenario.goalMissedLevels ?? null,
    takeoverSeconds: promised(scenario.goalTakeoverSeconds),
    tenureSeconds: promised(scenario.goalTenureSeconds),
  };
  const within = (reached: number | null, most: number | null) =>
    most === null || (reached !== null && reached <= most);
  const met = (Object.keys(goal) as (keyof typeof goal)[]).every((what) => within(got[what], goal[what]));
  return { ...goal, met };
}

export async function receiptOf(
  lab: Lab,
  scenario: Scenario,
  played: Played,
  startedInSeconds: number,
): Promise<ScenarioReceipt> {
  const { t0, before } = played;
  const gap = failoverGap(lab.signatures, t0);
  const after = { epoch: lab.lease?.epoch ?? 0, pod: lab.activePod() ?? "" };
  const missed = lab.chain.missedAfter(played.level);
  const missedLevels = missed.length;
  const disagreements = await historyDisagrees(lab, before.epoch);
  const overlapMs = Math.round(lab.trace.overlapMs("octez-baker", t0 - 60_000));
  const violations = lab.verdict().map((violation) => `${violation.code}: ${violation.text}`);
  const commitments = [...lab.chain.commitments.values()];
  const nonces = {
    committed: commitments.length,
    revealed: commitments.filter((entry) => entry.revealedBy !== null).length,
    lost: commitments.filter((entry) => entry.lost).length,
  };
  const dal = dalOf(lab, played.level);
  const problems = [
    ...played.problems,
    ...disagreements,
    ...disappointments(lab, scenario, played, { after, gap, overlapMs, nonces, dal }),
  ];
  const seconds = secondsOf(lab, played);
  return {
    scenario: scenario.name,
    ok: problems.length === 0 && violations.length === 0,
    ...{ missedLevels, missed },
    failoverSeconds: Number(gap.seconds.toFixed(3)),
    ...seconds,
    violations,
    timeline: timelineOf(lab, t0),
    problems,
    goal: goalOf(lab, scenario, { missedLevels, ...seconds }),
    overlapMs,
    epochs: { before: before.epoch, after: after.epoch },
    ...{ from: before.pod, to: after.pod, cause: causeOf(lab, t0) },
    ...{ nonces, dal },
    signatures: lab.signatures.length,
    longestStallMs: lab.longestStallMs(t0),
    blockSeconds: lab.options.blockMs / 1000,
    scale: Number(lab.scale.toFixed(4)),
    doubleStartSeconds: Number(((lab.options.doubleStartMs * lab.scale) / 1000).toFixed(3)),
    seed: lab.options.seed,
    startedInSeconds,
  };
}
