/** The record of everything that happens in a laboratory, and what the checker says to it. */
import { EventEmitter } from "node:events";
import type { LogEntry } from "../contract/log";
import { annotations, watermarkDataKey, watermarkName } from "../contract/names";
import { readWatermark } from "../contract/watermark";
import { check, type CommitEntry, type SignerEntry, type Violation, type ViolationCode } from "./checker/checker";
import { parseSigningRequest } from "../tezos/signing-request";
import type { AuditEntry } from "./kube-api";
import type { Synthesis } from "./synth";
import type { TraceLine, TraceServer } from "./trace";

/** What the timeline is made of. */
export interface LabEvent {
  atMs: number;
  level: LogEntry["level"];
  /** Baker or pod, "" for the laboratory itself. */
  pod: string;
  source: string;
  event: string;
  reason: string;
  fields?: Record<string, unknown>;
}
export interface Signature {
  atMs: number;
  pod: string;
  uid: string;
  pid: number;
  kind: string;
  level: number;
  round: number;
  /** Of the key, where the laboratory saw the request itself. */
  address?: string;
}
export interface LeaseView {
  holder: string;
  epoch: number;
  atMs: number;
  durationSeconds: number;
}

const keepEvents = 5000;

/** Nanosecond clock of the machine, the same for all processes: one order for signers and API. */
const machineMs = (): number => Number(process.hrtime.bigint()) / 1e6;

export class LabRecord extends EventEmitter<{ event: [LabEvent]; signature: [Signature]; commit: [AuditEntry] }> {
  readonly events: LabEvent[] = [];
  /** As octez-baker doubles got them. */
  readonly signatures: Signature[] = [];
  readonly leases = new Map<string, LeaseView>();
  /** Leases, config maps and pods as last committed, by resource and name. */
  private readonly latest = new Map<string, AuditEntry["object"]>();
  /** Commits of watermarks and leader leases, in order. */
  readonly commits: AuditEntry[] = [];
  private readonly signed: SignerEntry[] = [];
  private readonly marks: CommitEntry[] = [];
  private judged: { size: number; violations: Violation[]; atMs: number } = { size: 0, violations: [], atMs: 0 };

  constructor(
    readonly trace: TraceServer,
    private readonly rules: { bakers: Synthesis["bakers"]; floorPassAfter: number; predecessor: boolean },
  ) {
    super();
    this.setMaxListeners(100);
  }

  /**
   * What the checker says about everything that signers were asked and the API committed. Without a gate only S1 and S7
   * can be asked for.
   */
  verdict(): Violation[] {
    const size = this.signed.length + this.marks.length;
    if (this.judged.size === size) return this.judged.violations;
    this.judged = { size, violations: this.judge(), atMs: performance.now() };
    return this.judged.violations;
  }
  /** The verdict, at most three seconds old: for whoever asks all the time. */
  recentVerdict(): Violation[] {
    return performance.now() - this.judged.atMs < 3000 ? this.judged.violations : this.verdict();
  }
  private judge(): Violation[] {
    const fenced = this.marks.some((commit) => commit.by === "gate");
    const { predecessor } = this.rules;
    const unfenced: readonly ViolationCode[] = [
      ...(["two-digests", "two-signatures-of-a-block", "not-understood"] as const),
      // A tenure opens above what a pod without a gate has signed, too.
      ...(predecessor ? [] : (["opened-at-signed-level"] as const)),
    ];
    const found = check(this.signed, this.marks, {
      floorPassAfter: this.rules.floorPassAfter,
    });
    return fenced && !this.wasSolo && !predecessor
      ? found
      : found.filter((violation) => unfenced.includes(violation.code));
  }
  get wasSolo(): boolean {
    return this.trace.intervals.some((interval) => interval.role === "octez-baker" && /-solo-\d+$/.test(interval.pod));
  }
  get signerRequests(): number {
    return this.signed.length;
  }

  /** Of a signer that tells nothing itself: what the gate of a pod asked it for. */
  protected onSigned(entry: SignerEntry, { pod, uid }: Pick<Signature, "pod" | "uid">): void {
    this.signed.push(entry);
    const parsed = parseSigningRequest(Buffer.from(entry.bytes, "hex"));
    if (entry.signature === null || !parsed.ok) return;
    const { kind, level, round } = parsed.request;
    const pid = this.trace.running("octez-baker").find((interval) => interval.uid === uid)?.pid ?? 0;
    this.addSignature({ atMs: Date.now(), pod, uid, pid, kind, level, round, address: entry.address });
  }
  private addSignature(signature: Signature): void {
    this.signatures.push(signature);
    if (this.signatures.length > 20_000) this.signatures.splice(0, 10_000);
    this.emit("signature", signature);
  }

  protected onTrace(line: TraceLine): void {
    if (line.role === "octez-signer" && line.event === "signature") {
      const { at, signer, address, bytes, signature } = line as unknown as SignerEntry;
      this.signed.push({ at, signer, address, bytes, signature });
      return;
    }
    if (line.event === "process") this.note("info", line.pod, line.role, "process-started", `pid ${line.pid}`);
    else if (line.role === "octez-baker" && line.event === "signed") {
      this.addSignature({
        ...{ atMs: line.atMs, pod: line.pod, uid: line.uid, pid: line.pid },
        ...{ kind: String(line.kind), level: Number(line.level), round: Number(line.round) },
      });
    } else if (line.event === "ready") this.note("info", line.pod, line.role, "ready", "");
    else if (
      ["refused", "not-injected", "error", "committed", "revealed", "not-revealed", "below-highwatermark"].includes(
        line.event,
      )
    )
      this.note(
        line.event === "committed" || line.event === "revealed" ? "info" : "warn",
        line.pod,
        line.role,
        line.event,
        [line.kind, line.level, line.status, line.reason]
          .filter((part) => part !== undefined)
          .join(" ")
          .slice(0, 300),
      );
  }

  protected onCommit(entry: AuditEntry): void {
    const object = entry.object as {
      kind?: string;
      metadata?: { name?: string; annotations?: Record<string, string> };
      spec?: Record<string, unknown>;
    };
    const name = object.metadata?.name ?? "";
    if (entry.type === "DELETED") this.latest.delete(`${entry.resource}/${name}`);
    else if (["leases", "configmaps", "pods"].includes(entry.resource))
      this.latest.set(`${entry.resource}/${name}`, entry.object);
    this.emit("commit", entry);
    if (object.kind === "Lease" && name.endsWith(".leader")) {
      const spec = object.spec ?? {};
      const view: LeaseView = {
        holder: String(spec.holderIdentity ?? ""),
        epoch: Number(spec.leaseTransitions ?? 0),
        durationSeconds: Number(spec.leaseDurationSeconds ?? 0),
        atMs: Date.now(),
      };
      const before = this.leases.get(name);
      this.leases.set(name, view);
      if (before?.holder !== view.holder || before.epoch !== view.epoch) {
        this.commits.push(entry);
        const receipt = object.metadata?.annotations?.[annotations.lastTransition];
        this.note(
          "info",
          view.holder.split("_")[0] ?? "",
          "lease",
          view.holder === "" ? "released" : "held",
          `epoch ${view.epoch}`,
          {
            holder: view.holder,
            epoch: view.epoch,
            receipt,
          },
        );
      }
    } else if (name.startsWith("wm-")) this.onWatermark(entry);
    if (this.commits.length > 200_000) this.commits.splice(0, 100_000);
  }

  /** As last committed; undefined where there is none. */
  object(resource: "leases" | "configmaps", name: string): AuditEntry["object"] | undefined {
    return this.latest.get(`${resource}/${name}`);
  }

  objects(resource: "leases" | "configmaps" | "pods"): AuditEntry["object"][] {
    return [...this.latest].filter(([name]) => name.startsWith(`${resource}/`)).map(([, object]) => object);
  }

  private onWatermark(entry: AuditEntry): void {
    this.commits.push(entry);
    const address = this.rules.bakers
      .flatMap(({ keys }) => Object.keys(keys))
      .find((key) => watermarkName(key) === entry.name);
    const object = entry.object as unknown as { metadata: { uid: string }; data?: Record<string, string> };
    const reading = readWatermark(entry.type === "DELETED" ? undefined : object.data?.[watermarkDataKey]);
    if (address === undefined) return;
    this.marks.push({
      ...{ at: machineMs(), address, uid: object.metadata.uid },
      by: /-as-\d+$/.test(entry.client) ? "gate" : "other",
      record: reading.state === "record" ? reading.record : null,
    });
  }

  /**
   * Level of the last attestation that was marked before the tenure of `epoch`, whether or not the chain has it: -1
   * where none was.
   */
  markedBefore(baker: string, epoch: number): number {
    const last = new Map<string, number>();
    for (const { address, record } of this.marks)
      if (record?.baker === baker && record.epoch < epoch) last.set(address, record.marks.attestation?.level ?? -1);
    return Math.max(-1, ...last.values());
  }

  note(
    level: LogEntry["level"],
    pod: string,
    source: string,
    event: string,
    reason: string,
    fields?: Record<string, unknown>,
  ): void {
    const entry: LabEvent = { atMs: Date.now(), level, pod, source, event, reason, fields };
    this.events.push(entry);
    if (this.events.length > keepEvents) this.events.splice(0, keepEvents / 5);
    this.emit("event", entry);
  }
}
