/**
 * What happened, for the checker and the measurements: the API server's audit log, and the trace of the signers at
 * home.
 */
import { closeSync, openSync, readSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import { leaderLeaseName, watermarkDataKey, watermarkName } from "../../contract/names";
import { watermarkSchema } from "../../contract/watermark";
import { check, type CommitEntry, type SignerEntry, type Violation } from "../checker/checker";
import type { TraceLine } from "../trace";

interface AuditLine {
  stage: string;
  verb: string;
  requestURI: string;
  requestReceivedTimestamp: string;
  stageTimestamp: string;
  user: { username: string };
  objectRef?: { resource: string; namespace?: string; name?: string };
  responseStatus?: { code?: number };
  responseObject?: {
    metadata?: { uid?: string };
    data?: Record<string, string>;
    spec?: { holderIdentity?: string; leaseTransitions?: number };
  };
}
export interface Tenure {
  /** Pod name and uid; "" = released. */
  holder: string;
  epoch: number;
  /** Wall clock in milliseconds. */
  atMs: number;
}
/** RFC 3339 with microseconds, in milliseconds. */
const milliseconds = (text: string): number =>
  Date.parse(text.replace(/\.\d+Z$/, "Z")) + Number(`0${/\.\d+/.exec(text)?.[0] ?? ""}`) * 1000;

/** Arguments for kube-apiserver. */
export function auditFlags(folder: string, namespace: string): string[] {
  const resources = [
    { group: "", resources: ["configmaps"] },
    { group: "coordination.k8s.io", resources: ["leases"] },
  ];
  const policy = {
    apiVersion: "audit.k8s.io/v1",
    kind: "Policy",
    omitStages: ["RequestReceived", "ResponseStarted"],
    rules: [
      { level: "RequestResponse", namespaces: [namespace], verbs: ["create", "update", "patch", "delete"], resources },
      { level: "None" },
    ],
  };
  writeFileSync(join(folder, "audit.yaml"), stringify(policy));
  return [`--audit-policy-file=${join(folder, "audit.yaml")}`, `--audit-log-path=${join(folder, "audit.log")}`];
}

export class ClusterRecord {
  readonly signed: SignerEntry[] = [];
  readonly tenures: Tenure[] = [];
  private readonly marks: CommitEntry[] = [];
  private offset = 0;
  private rest = "";
  private readonly timer: NodeJS.Timeout;

  constructor(
    private readonly auditLog: string,
    private readonly baker: string,
    private readonly addresses: readonly string[],
  ) {
    this.timer = setInterval(() => this.follow(), 50);
  }
  stop(): void {
    clearInterval(this.timer);
  }

  onTrace(line: TraceLine): void {
    if (line.role !== "octez-signer" || line.event !== "signature") return;
    const { at, signer, address, bytes, signature } = line as unknown as SignerEntry;
    this.signed.push({ at, signer, address, bytes, signature });
  }

  /** Reads what the API server wrote since the last time. */
  follow(): void {
    const buffer = Buffer.alloc(1 << 20);
    let file: number;
    try {
      file = openSync(this.auditLog, "r");
    } catch {
      return;
    }
    for (let size = 1; size > 0; this.offset += size) {
      size = readSync(file, buffer, 0, buffer.length, this.offset);
      this.rest += buffer.toString("utf8", 0, size);
    }
    closeSync(file);
    const lines = this.rest.split("\n");
    this.rest = lines.pop() ?? "";
    for (const line of lines) if (line !== "") this.take(JSON.parse(line) as AuditLine);
  }

  private take(line: AuditLine): void {
    const { objectRef, responseObject, responseStatus } = line;
    if (line.requestURI.includes("dryRun") || (responseStatus?.code ?? 500) >= 300) return;
    const name = objectRef?.name ?? "";
    if (objectRef?.resource === "leases" && name === leaderLeaseName(this.baker)) {
      const { holderIdentity = "", leaseTransitions = 0 } = responseObject?.spec ?? {};
      const last = this.tenures.at(-1);
      if (last?.holder !== holderIdentity || last.epoch !== leaseTransitions)
        this.tenures.push({ holder: holderIdentity, epoch: leaseTransitions, atMs: milliseconds(line.stageTimestamp) });
    }
    const address = this.addresses.find((key) => watermarkName(key) === name);
    if (address === undefined) return;
    let parsed: unknown = null;
    if (line.verb !== "delete") parsed = JSON.parse(responseObject?.data?.[watermarkDataKey] ?? "null");
    const record = watermarkSchema.safeParse(parsed);
    // The signers' clock is the machine's monotonic one. A commit counts from when the API server got it: its
    // answer is on its way before the log has its time.
    const monotonic = Number(process.hrtime.bigint()) / 1e6 - (performance.timeOrigin + performance.now());
    this.marks.push({
      at: milliseconds(line.requestReceivedTimestamp) + monotonic,
      address,
      uid: responseObject?.metadata?.uid ?? "",
      by: /:[a-z0-9-]+-as$/.test(line.user.username) ? "gate" : "other",
      record: record.success ? record.data : null,
    });
  }

  /**
   * Of everything until now. Pods without a gate may have signed: then only what two signatures contradict is
   * judged.
   */
  verdict(floorPassMs: number, fenced: boolean): Violation[] {
    this.follow();
    const found = check(
      this.signed,
      [...this.marks].sort((a, b) => a.at - b.at),
      { floorPassAfter: floorPassMs },
    );
    const always = ["two-digests", "two-signatures-of-a-block", "not-understood"];
    return fenced ? found : found.filter(({ code }) => always.includes(code));
  }
  get commits(): number {
    return this.marks.length;
  }
}
