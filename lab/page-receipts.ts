/** One receipt for each fault: from the fault until signing goes on, or until the next fault. */
import { eventSentence } from "../diagnosis/events";
import { leaderLeaseName } from "../contract/names";
import { leaseView } from "../diagnosis/objects";
import { causeText } from "../diagnosis/receipt";
import { receiptsOf } from "../diagnosis/view";
import type { LevelRecord } from "./chain/chain-record";
import type { Lab } from "./lab";
import type { LabEvent } from "./lab-record";
import { failoverGap, timelineOf } from "./scenarios/receipt";
import type { Scenario } from "./scenarios/scenario";

/** A step between the fault and the first signature, in milliseconds since the fault. */
export interface Phase {
  name: "fault" | "lease over" | "acquired" | "gate open" | "daemon ready" | "first signature";
  atMs: number;
}
export interface CaseReceipt {
  id: number;
  title: string;
  at: string;
  from: string;
  to: string;
  cause: string;
  missedLevels: number;
  missed: number[];
  /** Of the scenario that measures this fault; null where none promises anything. */
  goalMissedLevels: number | null;
  /** The longest time without a signature; while nobody signs it counts up. */
  silentSeconds: number;
  /** True while nobody signs. */
  silent: boolean;
  overlap: { ms: number; text: string };
  violations: number;
  open: boolean;
  /** Another fault came before signing went on: what followed is in the next receipt. */
  interrupted: boolean;
  sentence: string;
  phases: Phase[];
  timeline: { atMs: number; pod: string; text: string }[];
}

/**
 * Who signs by the chain: who attested the last level that is attested or missed. Not whose process runs: a frozen one
 * runs, too, and one that may not sign does not sign. Undefined where nobody does, or that level is older than three
 * blocks.
 */
export function signerOf(
  levels: readonly Pick<LevelRecord, "attestedBy" | "attestationMissed" | "atMs">[],
  oldestMs = -Infinity,
): string | undefined {
  const last = levels.findLast((level) => level.attestedBy !== null || level.attestationMissed === true);
  return last && last.atMs >= oldestMs ? (last.attestedBy ?? undefined) : undefined;
}

const inSeconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
const levelsWere = (count: number): string =>
  count === 0 ? "no level was" : count === 1 ? "1 level was" : `${count} levels were`;

/** One sentence for somebody who has not seen what happened. */
export function receiptSentence(receipt: Omit<CaseReceipt, "sentence">): string {
  const { title, from, to, cause, phases, missedLevels, goalMissedLevels, silent, silentSeconds } = receipt;
  const at = (name: Phase["name"]) => phases.find((phase) => phase.name === name)?.atMs;
  const acquired = at("acquired");
  const first = at("first signature");
  const outcome = silent
    ? `nobody has signed for ${silentSeconds.toFixed(1)} s`
    : to === ""
      ? receipt.open
        ? "the next levels show who signs on"
        : "nobody signed"
      : acquired !== undefined
        ? `${to} ${to === from ? "acquired the lease again" : "took over"} after ${inSeconds(acquired)} (${causeText(cause)})${first === undefined ? "" : ` and signed first after ${inSeconds(first)}`}`
        : to === from || from === ""
          ? `${to} signs on${first === undefined ? "" : `, again after ${inSeconds(first)}`}`
          : `${to} signs on`;
  const goal = goalMissedLevels === null ? "" : ` (goal: at most ${goalMissedLevels})`;
  const end = receipt.interrupted ? ` Then came the next fault.` : receipt.open ? " It is still going on." : "";
  return `${title}: ${outcome}; ${levelsWere(missedLevels)} missed${goal}.${end}`;
}

interface Case {
  id: number;
  t0: number;
  level: number;
  from: string;
  title: string;
  fault: string;
  plain: boolean;
  epoch: number;
  /** When the lease of before was last known to end; moves while its holder renews. */
  leaseOverMs: number | undefined;
}

/** Opens a case at each fault; it closes when three levels in a row are attested, or when the next fault comes. */
export class Cases {
  readonly receipts: CaseReceipt[] = [];
  private current: Case | undefined;

  constructor(
    private readonly lab: Lab,
    private readonly scenarios: Record<string, Scenario> = {},
  ) {
    lab.on("event", (event) => this.onEvent(event));
    lab.chain.on("decided", () => this.update());
    lab.on("commit", () => this.onCommit());
  }

  private onEvent(event: LabEvent): void {
    if (event.source !== "fault" || event.event.endsWith("-ended")) return;
    this.update(event.atMs);
    const { lab } = this;
    const attested = lab.chain.levels.at(-1)?.attestedBy !== null;
    this.current = {
      ...{ t0: event.atMs, id: this.receipts.length + 1, fault: event.event },
      title: event.pod === "" ? event.reason : `${event.reason} (${event.pod})`,
      // With arguments of its own it is not what a scenario measures.
      plain: !event.reason.includes(":"),
      level: lab.chain.head.level - (attested ? 0 : 1),
      from: signerOf(lab.chain.levels) ?? lab.activePod() ?? "",
      epoch: lab.lease?.epoch ?? 0,
      leaseOverMs: lab.lease && lab.lease.atMs + lab.lease.durationSeconds * 1000,
    };
    this.update();
  }
  /** A renewal moves the end of the lease; a release is one. */
  private onCommit(): void {
    const { current, lab } = this;
    if (!current || lab.lease?.epoch !== current.epoch) return;
    const { holder, atMs, durationSeconds } = lab.lease;
    if (holder !== "") current.leaseOverMs = atMs + durationSeconds * 1000;
    else if ((current.leaseOverMs ?? Infinity) > atMs) current.leaseOverMs = atMs;
  }

  /** Recomputes the open case. @param nextFaultMs closes it: another fault has come */
  update(nextFaultMs?: number): void {
    const { current } = this;
    if (!current) return;
    const receipt = this.receiptOf(current, nextFaultMs ?? Date.now(), nextFaultMs !== undefined);
    this.receipts[current.id - 1] = receipt;
    if (!receipt.open) this.current = undefined;
  }

  private receiptOf(current: Case, untilMs: number, interrupted: boolean): CaseReceipt {
    const { lab } = this;
    const decided = lab.chain.levels.filter(
      (record) => record.level > current.level && record.attestationMissed !== null,
    );
    const calm =
      decided.length >= 5 && decided.slice(-3).every((record) => !record.attestationMissed && !record.blockMissed);
    const silentMs = untilMs - (lab.signatures.at(-1)?.atMs ?? current.t0);
    // A busy machine signs late: as long as levels are attested somebody signs.
    const signs = signerOf(lab.chain.levels) !== undefined;
    const silent = !calm && silentMs > (signs ? 2.5 : 1.5) * lab.options.blockMs;
    const gap = failoverGap(lab.signatures, current.t0);
    const to = signerOf(decided) ?? "";
    const acquired = this.acquired(current, to);
    const receipt = {
      ...{ id: current.id, title: current.title, at: new Date(current.t0).toISOString() },
      ...{ from: current.from, to, cause: this.cause(acquired) },
      missed: decided.filter((record) => record.attestationMissed || record.blockMissed).map((record) => record.level),
      missedLevels: lab.chain.missedSince(current.level),
      goalMissedLevels: this.goal(current),
      silentSeconds: Number(Math.max(gap.seconds, silent ? silentMs / 1000 : 0).toFixed(2)),
      silent,
      overlap: this.overlap(current.t0, untilMs),
      violations: lab.recentVerdict().length,
      open: !calm && !interrupted,
      interrupted: interrupted && !calm,
      phases: this.phases(current, acquired),
      timeline: timelineOf(lab, current.t0, 80).map(({ atMs, pod, text }) => ({ atMs, pod, text })),
    };
    return { ...receipt, sentence: receiptSentence(receipt) };
  }

  /** The first acquisition by the pod that signs, else by anybody. */
  private acquired({ t0 }: Case, to: string): LabEvent | undefined {
    const all = this.lab.events.filter(
      ({ atMs, source, event }) => atMs >= t0 && source === "elector" && event === "acquired",
    );
    return all.find(({ pod }) => pod === to) ?? all[0];
  }

  /** As the lease's own receipt says it, and `history`. */
  private cause(acquired: LabEvent | undefined): string {
    const lease = this.lab.object("leases", leaderLeaseName(this.lab.baker));
    const receipts = lease && acquired ? receiptsOf(leaseView(lease)) : [];
    return receipts.find(({ epoch }) => epoch === acquired?.fields?.epoch)?.cause ?? acquired?.reason ?? "";
  }

  /** What a built-in scenario promises for exactly this fault. */
  private goal({ fault, plain }: Case): number | null {
    if (!plain || !this.lab.options.flag) return null;
    const measured = Object.values(this.scenarios).find(
      ({ steps: [step, ...more], flag, goalMissedLevels }) =>
        // What a fault of the page costs that the scenario ends after a time depends on who ends it.
        flag && goalMissedLevels !== undefined && more.length === 0 && step?.fault === fault && step.for === undefined,
    );
    return measured?.goalMissedLevels ?? null;
  }

  private phases({ t0, leaseOverMs }: Case, acquired: LabEvent | undefined): Phase[] {
    const { lab } = this;
    const after = (fromMs: number, test: (event: LabEvent) => boolean) =>
      lab.events.find((event) => event.atMs >= fromMs && test(event))?.atMs;
    const held =
      acquired &&
      after(
        t0,
        ({ source, event, fields }) =>
          source === "lease" && event === "held" && fields?.epoch === acquired.fields?.epoch,
      );
    const fromMs = held ?? t0;
    const pod = acquired?.pod;
    const opened =
      held === undefined
        ? undefined
        : after(fromMs, (event) => event.event === "watermark" && event.fields?.state === "open" && event.pod === pod);
    const ready = after(fromMs, ({ source, event }) => source === "octez-baker" && event === "ready");
    const next = lab.signatures.find((signature) => signature.atMs >= (ready ?? Infinity));
    const steps: [Phase["name"], number | undefined][] = [
      ["fault", t0],
      ["lease over", held === undefined || leaseOverMs === undefined ? undefined : Math.min(leaseOverMs, held)],
      ["acquired", held],
      ["gate open", opened],
      ["daemon ready", ready],
      ["first signature", next?.atMs],
    ];
    return steps
      .flatMap(([name, atMs]) => (atMs === undefined ? [] : [{ name, atMs: Math.max(0, Math.round(atMs - t0)) }]))
      .sort((a, b) => a.atMs - b.atMs);
  }

  /** Processes of octez-baker in two pods at the same time, and why that is no danger. */
  private overlap(fromMs: number, untilMs: number): CaseReceipt["overlap"] {
    const { lab } = this;
    const ms = Math.round(lab.trace.overlapMs("octez-baker", fromMs, untilMs));
    if (ms === 0) return { ms, text: "never two octez-baker processes at once" };
    const frozen = lab.events.findLast(
      (event) => event.atMs >= fromMs - 5 && event.source === "fault" && event.event === "pause",
    );
    return {
      ms,
      text: frozen
        ? `two octez-baker processes existed: that of ${frozen.pod} was frozen, and when it woke up its gate was shut`
        : "two octez-baker processes existed: the lease had one holder, and only that one's gate was open",
    };
  }
}

/** An event of the log as the page gets it. */
export const logLine = (entry: LabEvent) => ({
  ...{ atMs: entry.atMs, level: entry.level, pod: entry.pod, source: entry.source, event: entry.event },
  text: eventSentence(entry) ?? `${entry.source}: ${entry.event} ${entry.reason}`,
  known: eventSentence(entry) !== undefined,
});
