/** Runs a scenario in a laboratory and writes its receipt. */
import * as z from "zod/mini";
import { annotations, leaderLeaseName } from "../../contract/names";
import { receiptSchema } from "../../contract/receipt";
import { eventSentence } from "../../diagnosis/events";
import type { Lab, LabOptions, Signature } from "../lab";
import { Lab as Laboratory } from "../lab";
import { inject } from "../faults/faults";
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

/** Waits until `count` levels in a row after `level` are attested. */
async function recovered(lab: Lab, count: number, timeoutMs: number): Promise<boolean> {
  const level = lab.chain.head.level;
  const good = () => {
    const decided = lab.chain.levels.filter((record) => record.level > level && record.attestationMissed !== null);
    return (
      decided.length >= count &&
      decided.slice(-count).every((record) => !record.attestationMissed && !record.blockMissed)
    );
  };
  try {
    await lab.until("signing goes on", good, timeoutMs);
    return true;
  } catch {
    return false;
  }
}

/** Every pod ready, one daemon signing, three levels in a row attested. @throws Error after 400 s at 6 s blocks */
export async function calm(lab: Lab): Promise<void> {
  const level = lab.chain.head.level;
  const members = lab.options.flag ? 2 : 1;
  await lab.until(
    "calm",
    () => {
      const pods = lab.cluster.bakingMembers();
      const decided = lab.chain.levels.filter((record) => record.level > level && record.attestationMissed !== null);
      return (
        pods.length === members &&
        pods.every((member) => member.pod.ready) &&
        lab.activePod() !== undefined &&
        decided.length >= 3 &&
        decided.slice(-3).every((record) => !record.attestationMissed && !record.blockMissed)
      );
    },
    Math.max(90_000, lab.scaled(400_000)),
  );
}

/**
 * Receipts of the tenures after `epoch` against the chain: each must have the number of levels that were missed from
 * the last attestation before the tenure to its first one. @returns a sentence for each that has another number, or
 * none although it is to have one
 */
async function historyDisagrees(lab: Lab, epoch: number): Promise<string[]> {
  const receipts = () => {
    const notes = lab.object("leases", leaderLeaseName(lab.baker))?.metadata.annotations ?? {};
    const list = z.array(receiptSchema).safeParse(JSON.parse(notes[annotations.receipts] ?? "[]"));
    return (list.data ?? []).flatMap((receipt) => {
      const first = receipt.timeline.find(({ event }) => event === "first-attestation");
      const acquired = receipt.timeline.find(({ event }) => event === "acquired");
      const to = Number(first?.reason.replace("level ", ""));
      const atMs = Date.parse(receipt.at) + (acquired?.atMs ?? 0);
      const from = lab.chain.levels.findLast(
        (level) => level.attestedBy !== null && level.atMs < atMs && level.level < to,
      );
      return receipt.epoch > epoch && first && from ? [{ receipt, from: from.level, to }] : [];
    });
  };
  const counted = () => receipts().every(({ receipt }) => receipt.missedLevels !== null);
  await lab.until("the missed levels of the receipts", counted, lab.scaled(30_000)).catch(() => undefined);
  return receipts().flatMap(({ receipt, from, to }) => {
    const missed = lab.chain.levels.filter(
      ({ level, attestationMissed }) => level >= from && level <= to && attestationMissed === true,
    ).length;
    return receipt.missedLevels === missed
      ? []
      : [`the receipt of epoch ${receipt.epoch} says ${receipt.missedLevels} missed levels, the chain ${missed}`];
  });
}

/** Runs the steps in a running, ready laboratory. */
export async function runSteps(
  lab: Lab,
  scenario: Scenario,
  options: { phase?: number; startedInSeconds?: number } = {},
): Promise<ScenarioReceipt> {
  const { options: made } = lab;
  const { blockMs } = made;
  const flagged = scenario.flag;
  // A moment of a level that differs from run to run.
  const phase = options.phase ?? Math.random();
  const into = () => (Date.now() - lab.chain.head.atMs) / blockMs;
  await lab
    .until("the moment", () => Math.abs(into() - phase) < 0.04 || blockMs < 300, blockMs * 3)
    .catch(() => undefined);
  const t0 = Date.now();
  const level = lab.chain.head.level;
  const headAttested = lab.chain.levels.at(-1)?.attestedBy !== null;
  const before = { epoch: lab.lease?.epoch ?? 0, pod: lab.activePod() ?? "" };
  const ends: { at: number; end: () => Promise<void> }[] = [];
  let endedMs: number | undefined;
  const problems: string[] = [];
  const clock = () => (Date.now() - t0) / 1000 / lab.scale;
  const steps = [...scenario.steps].sort((a, b) => a.at - b.at);
  let next = 0;
  const finish = Math.max(0, ...steps.map((step) => step.at + (step.for ?? 0))) + scenario.settle;
  while (clock() < finish) {
    const due = ends.filter((entry) => entry.at <= clock());
    for (const entry of due) {
      ends.splice(ends.indexOf(entry), 1);
      endedMs ??= Date.now();
      await entry.end();
    }
    const step = steps[next];
    if (step && step.at <= clock()) {
      next++;
      try {
        const end = await inject(lab, step.fault, step.args);
        if (end && step.for !== undefined) ends.push({ at: clock() + step.for, end });
      } catch (error) {
        problems.push(`${step.fault}: ${(error as Error).message}`);
      }
    }
    await lab.sleep(10);
  }
  for (const entry of ends) await entry.end();
  if (lab.rolling) await Promise.race([lab.rolling, lab.sleep(lab.scaled(240_000))]);
  const came = await recovered(lab, 3, Math.max(20_000, lab.scaled(150_000)));
  if (scenario.expect.recovers && !came) problems.push("signing did not go on");

  const gap = failoverGap(lab.signatures, t0);
  const after = { epoch: lab.lease?.epoch ?? 0, pod: lab.activePod() ?? "" };
  const missedLevels = lab.chain.missedSince(headAttested ? level : level - 1);
  problems.push(...(await historyDisagrees(lab, before.epoch)));
  const overlapMs = Math.round(lab.trace.overlapMs("octez-baker", t0 - 60_000));
  const violations = lab.verdict().map((violation) => `${violation.code}: ${violation.text}`);
  const changed = before.pod !== after.pod || (gap.from !== undefined && gap.from.uid !== gap.to?.uid);
  if (scenario.expect.failover === "yes" && !changed)
    problems.push(`${before.pod} still signs: another pod was to take over`);
  if (scenario.expect.failover === "no" && (changed || (flagged && before.epoch !== after.epoch)))
    problems.push(`${after.pod} signs in epoch ${after.epoch}: ${before.pod} was to go on in epoch ${before.epoch}`);
  if (scenario.expect.overlapMs !== null && overlapMs > scenario.expect.overlapMs)
    problems.push(`two daemons ran for ${overlapMs} ms together`);
  const commitments = [...lab.chain.commitments.values()];
  const nonces = {
    committed: commitments.length,
    revealed: commitments.filter((entry) => entry.revealedBy !== null).length,
    lost: commitments.filter((entry) => entry.lost).length,
  };
  if (scenario.expect.nonces && nonces.lost > 0)
    problems.push(`${nonces.lost} of ${nonces.committed} commitments were not revealed`);
  if (scenario.expect.nonces && nonces.revealed === 0) problems.push("nothing was revealed: the run shows nothing");
  const during = lab.signatures.filter(({ atMs }) => atMs > t0 + lab.scaled(500) && atMs < (endedMs ?? t0)).length;
  if (scenario.expect.silent && during > 0) problems.push(`${during} signatures while nothing was to be signed`);
  const since = (fromMs: number, atMs: number | null | undefined) =>
    atMs ? Number(((atMs - fromMs) / 1000).toFixed(3)) : null;
  const young = lab.trace.intervals.find(
    (interval) => interval.role === "octez-baker" && interval.startMs > t0 && interval.readyMs !== null,
  );
  const takeoverSeconds = since(t0, young?.readyMs);
  const held = lab.events.find(
    (event) => event.source === "lease" && event.event === "held" && event.atMs >= (endedMs ?? Infinity),
  );
  const tenureSeconds = since(endedMs ?? 0, held?.atMs);
  const promised = (seconds: number | undefined) =>
    seconds === undefined ? null : Number((seconds * lab.scale).toFixed(3));
  const goal = {
    missedLevels: scenario.goalMissedLevels ?? null,
    takeoverSeconds: promised(scenario.goalTakeoverSeconds),
    tenureSeconds: promised(scenario.goalTenureSeconds),
  };
  const within = (got: number | null, most: number | null) => most === null || (got !== null && got <= most);
  const met =
    within(missedLevels, goal.missedLevels) &&
    within(takeoverSeconds, goal.takeoverSeconds) &&
    within(tenureSeconds, goal.tenureSeconds);
  return {
    scenario: scenario.name,
    ok: problems.length === 0 && violations.length === 0,
    missedLevels,
    failoverSeconds: Number(gap.seconds.toFixed(3)),
    ...{ takeoverSeconds, tenureSeconds },
    violations,
    timeline: timelineOf(lab, t0),
    problems,
    goal: { ...goal, met },
    overlapMs,
    epochs: { before: before.epoch, after: after.epoch },
    ...{ from: before.pod, to: after.pod, cause: causeOf(lab, t0) },
    nonces,
    signatures: lab.signatures.length,
    longestStallMs: lab.longestStallMs(t0),
    blockSeconds: blockMs / 1000,
    scale: Number(lab.scale.toFixed(4)),
    doubleStartSeconds: Number(((made.doubleStartMs * lab.scale) / 1000).toFixed(3)),
    seed: made.seed,
    startedInSeconds: options.startedInSeconds ?? 0,
  };
}

/** What the new master said it acquired for. */
function causeOf(lab: Lab, fromMs: number): string {
  const acquired = lab.events.findLast(
    (event) => event.atMs >= fromMs && event.source === "elector" && event.event === "acquired",
  );
  return acquired?.reason ?? "";
}

/** Starts a laboratory for the scenario, runs it, and ends it. */
export async function runScenario(
  scenario: Scenario,
  base: Omit<LabOptions, "flag" | "signers">,
  onLab?: (lab: Lab) => void,
): Promise<ScenarioReceipt> {
  const began = performance.now();
  const lab = await Laboratory.start({ ...base, ...scenario.chain, flag: scenario.flag, signers: scenario.signers });
  try {
    onLab?.(lab);
    await lab.ready();
    const startedInSeconds = Number(((performance.now() - began) / 1000).toFixed(2));
    base.progress?.(`ready in ${startedInSeconds} s: ${lab.activePod() ?? "nobody"} signs`);
    // Two undisturbed levels.
    await recovered(lab, 2, Math.max(15_000, lab.scaled(60_000)));
    base.progress?.(`${scenario.name}: ${scenario.title}`);
    return await runSteps(lab, scenario, { startedInSeconds });
  } finally {
    await lab.stop();
  }
}
