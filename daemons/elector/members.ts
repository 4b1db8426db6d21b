/**
 * The member leases: writes this pod's record, and follows those of the others. A record counts from when *this*
 * process saw it change; the times written in it are not used.
 */
import { memberPods, type BakerFile } from "../../contract/baker-file";
import type { PodEnv } from "../../contract/env";
import { annotations, memberLeaseName, podOrdinal } from "../../contract/names";
import { memberRecordSchema, type MemberRecord } from "../../contract/status";
import { slowRequestMs } from "../../contract/timings";
import { untilAfterBeat, type Clock } from "../runtime/clock";
import { microTime, type KubeClient, type Lease } from "../runtime/kube";
import { Wake } from "../runtime/wake";
import type { Member } from "./decide";
import { emptyLease, podOf } from "./lease";
import type { ElectorMetrics } from "./metrics";
import type { Report } from "./report";

/** Another member's lease, as it was seen last. */
interface Other {
  pod: string;
  version: string | null;
  record: MemberRecord | null;
  changedAtMs: number;
  /** When the watch told of it last. */
  toldAtMs: number;
}

export interface MembersOptions {
  env: PodEnv;
  file: BakerFile;
  identity: string;
  kube: KubeClient;
  clock: Clock;
  metrics: ElectorMetrics;
  report: Report;
  /** What this pod's record says now. */
  ownRecord: () => MemberRecord;
  /** Another member's record was seen, or the time has come to look at their ages. */
  changed: () => void;
}

export class Members {
  private readonly others: Other[];
  private own: Lease | null = null;
  private dirty = true;
  private readonly wake = new Wake();

  constructor(private readonly o: MembersOptions) {
    this.others = memberPods(o.file)
      .filter((pod) => pod !== o.env.TOG_POD_NAME)
      .map((pod) => ({ pod, version: null, record: null, changedAtMs: -Infinity, toldAtMs: -Infinity }));
  }

  /** The other members, for the election. */
  list(): Member[] {
    return this.others.flatMap(({ pod, record, changedAtMs }) =>
      record
        ? [
            {
              pod,
              identity: record.identity,
              eligible: record.eligible,
              headLevel: record.headLevel,
              noncesMissing: record.noncesMissing,
              dalWell: record.dal?.well ?? true,
              changedAtMs,
            },
          ]
        : [],
    );
  }

  records(): MemberRecord[] {
    return this.others.flatMap(({ record }) => (record ? [record] : []));
  }

  /** This pod's record has changed: writes it now. */
  announce(): void {
    this.dirty = true;
    this.wake.kick();
  }

  /** Until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.loop(signal), ...this.others.map((other) => this.watch(other, signal))]);
  }

  private watch(other: Other, signal: AbortSignal): Promise<void> {
    return this.o.kube.watch(
      "leases",
      this.leaseName(other.pod),
      (event) => {
        if (event.type === "DELETED") return;
        other.toldAtMs = this.o.clock.now();
        this.saw(other, event.object);
        this.o.changed();
      },
      { signal },
    );
  }

  private async loop(signal: AbortSignal): Promise<void> {
    const { clock, file, env, metrics } = this.o;
    const every = file.timings.memberRenewSeconds * 1000;
    let writeAtMs = 0;
    while (!signal.aborted) {
      const now = clock.now();
      const jobs: Promise<void>[] = [];
      if (this.dirty || now >= writeAtMs) {
        this.dirty = false;
        writeAtMs = now + untilAfterBeat(clock, every, env.TOG_POD_ADDRESS);
        jobs.push(this.write(signal));
      }
      // The watch tells of each renewal; where it has not, it may have died unnoticed.
      const silent = this.others.filter((other) => now - other.toldAtMs >= 1.25 * every);
      jobs.push(...silent.map((other) => this.read(other, signal)));
      await Promise.allSettled(jobs);
      for (const { pod, record, changedAtMs } of this.others) {
        const alive = clock.now() - changedAtMs < file.timings.memberMaxAgeSeconds * 1000;
        metrics.member(pod, alive && (record?.eligible ?? false));
      }
      this.o.changed();
      const pause = Math.max(20, writeAtMs - clock.now());
      await this.wake.wait(silent.length > 0 ? Math.min(every / 2, pause) : pause, signal);
    }
  }

  private leaseName(pod: string): string {
    return memberLeaseName(this.o.file.baker, podOrdinal(pod));
  }

  /** `lease` with this pod's record. */
  private filled(lease: Lease): Lease {
    const { identity, file, clock, ownRecord } = this.o;
    return {
      ...lease,
      metadata: {
        ...lease.metadata,
        annotations: { ...lease.metadata.annotations, [annotations.member]: JSON.stringify(ownRecord()) },
      },
      spec: {
        ...lease.spec,
        holderIdentity: identity,
        leaseDurationSeconds: Math.max(1, Math.ceil(file.timings.memberMaxAgeSeconds)),
        renewTime: microTime(clock.wall()),
      },
    };
  }

  private async write(signal: AbortSignal): Promise<void> {
    const { kube, env, file, report } = this.o;
    const name = this.leaseName(env.TOG_POD_NAME);
    const options = { timeoutMs: slowRequestMs(file.timings), signal };
    for (let attempt = 0; attempt < 2; attempt++) {
      if (!this.own) {
        const read = await kube.get("leases", name, options);
        if (read.ok) this.own = read.object;
        else if (read.kind === "not-found") {
          const made = await kube.create(
            "leases",
            this.filled(emptyLease(name, env.TOG_NAMESPACE, file.baker)),
            options,
          );
          if (made.ok) this.own = made.object;
          return;
        } else return report.warn("member-not-written", `get: ${read.message}`, { kind: read.kind });
      }
      const wrote = await kube.replace("leases", this.filled(this.own), options);
      this.own = wrote.ok ? wrote.object : null;
      if (wrote.ok || wrote.kind === "aborted") return;
      if (wrote.kind !== "conflict" && wrote.kind !== "not-found")
        return report.warn("member-not-written", `replace: ${wrote.message}`, { kind: wrote.kind });
    }
  }

  private async read(other: Other, signal: AbortSignal): Promise<void> {
    const outcome = await this.o.kube.get("leases", this.leaseName(other.pod), {
      timeoutMs: slowRequestMs(this.o.file.timings),
      signal,
    });
    // The watch may have overtaken the answer.
    if (outcome.ok && outcome.sentAtMs > other.toldAtMs) this.saw(other, outcome.object);
  }

  private saw(other: Other, lease: Lease): void {
    const version = `${lease.metadata.uid}/${lease.metadata.resourceVersion}`;
    // A first look proves nothing about life: only a change that we saw ourselves does.
    if (other.version !== null && other.version !== version) other.changedAtMs = this.o.clock.now();
    other.version = version;
    try {
      const parsed = memberRecordSchema.safeParse(JSON.parse(lease.metadata.annotations?.[annotations.member] ?? ""));
      other.record = parsed.success && podOf(parsed.data.identity) === other.pod ? parsed.data : null;
    } catch {
      other.record = null;
    }
  }
}
