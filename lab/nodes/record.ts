/**
 * What happened, for the checker and the measurements: the API server's audit log, and the trace of the signers at
 * home.
 */
import { closeSync, openSync, readFileSync, readSync, writeFileSync } from "node:fs";
import { get } from "node:https";
import { join } from "node:path";
import { stringify } from "yaml";
import { leaderLeaseName, watermarkDataKey, watermarkName } from "../../contract/names";
import { watermarkSchema } from "../../contract/watermark";
import { check, type CommitEntry, type SignerEntry, type Violation } from "../checker/checker";
import { lines } from "../doubles/lines";
import type { ControlPlane } from "../../tools/test-assets/control-plane";
import type { TraceLine } from "../trace";
import { sleep } from "./wait";

interface AuditLine {
  stage: string;
  verb: string;
  requestURI: string;
  requestReceivedTimestamp: string;
  stageTimestamp: string;
  user: { username: string; extra?: Record<string, string[]> };
  objectRef?: { resource: string; namespace?: string; name?: string };
  responseStatus?: { code?: number };
  requestObject?: AuditedObject;
  responseObject?: AuditedObject;
}
interface AuditedObject {
  metadata?: { uid?: string; resourceVersion?: string };
  data?: Record<string, string>;
  spec?: { holderIdentity?: string; leaseTransitions?: number };
}
export interface RecordedTenure {
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
  return [
    `--audit-policy-file=${join(folder, "audit.yaml")}`,
    `--audit-log-path=${join(folder, "audit.log")}`,
    // In MiB: with the default of 100 the log begins anew after half an hour, under whoever reads it.
    "--audit-log-maxsize=10000",
  ];
}

export class ClusterRecord {
  readonly signed: SignerEntry[] = [];
  /** Writes that were refused because of their token. */
  unauthorized = 0;
  /** Pod and kind of object -> identity of the token with which it was written last. */
  private readonly tokens = new Map<string, string>();
  readonly tenures: RecordedTenure[] = [];
  /** `unsure`: what a write of unknown outcome would have stored. */
  private readonly marks: (CommitEntry & { unsure?: string })[] = [];
  private offset = 0;
  private rest = "";
  private readonly timer: NodeJS.Timeout;

  constructor(
    private readonly auditLog: string,
    private readonly baker: string,
    private readonly addresses: readonly string[],
    /** Every version of a watermark that the API server stored. */
    private readonly versions: ReadonlySet<string>,
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

  /** Identity of the token with which a pod last wrote an object of this kind; undefined before. */
  tokenOf(pod: string, kind: "leases" | "configmaps"): string | undefined {
    return this.tokens.get(`${pod} ${kind}`);
  }

  private take(line: AuditLine): void {
    const { objectRef, requestObject, responseObject, responseStatus, user } = line;
    const code = responseStatus?.code ?? 500;
    if (code === 401) this.unauthorized++;
    const of = (name: string): string | undefined => user.extra?.[`authentication.kubernetes.io/${name}`]?.[0];
    const token = of("credential-id");
    if (code < 300 && token !== undefined) this.tokens.set(`${of("pod-name")} ${objectRef?.resource}`, token);
    if (line.requestURI.includes("dryRun") || (code >= 300 && code < 500)) return;
    const name = objectRef?.name ?? "";
    if (objectRef?.resource === "leases" && code < 300 && name === leaderLeaseName(this.baker)) {
      const { holderIdentity = "", leaseTransitions = 0 } = responseObject?.spec ?? {};
      const last = this.tenures.at(-1);
      if (last?.holder !== holderIdentity || last.epoch !== leaseTransitions)
        this.tenures.push({ holder: holderIdentity, epoch: leaseTransitions, atMs: milliseconds(line.stageTimestamp) });
    }
    const address = this.addresses.find((key) => watermarkName(key) === name);
    if (address === undefined) return;
    const object = code < 300 ? responseObject : requestObject;
    const text = object?.data?.[watermarkDataKey] ?? "null";
    const parsed: unknown = line.verb === "delete" ? null : JSON.parse(text);
    const record = watermarkSchema.safeParse(parsed);
    // The signers' clock is the machine's monotonic one. A commit counts from when the API server got it: its
    // answer is on its way before the log has its time.
    const monotonic = Number(process.hrtime.bigint()) / 1e6 - (performance.timeOrigin + performance.now());
    this.marks.push({
      at: milliseconds(line.requestReceivedTimestamp) + monotonic,
      address,
      uid: object?.metadata?.uid ?? "",
      by: /:[a-z0-9-]+-as$/.test(line.user.username) ? "gate" : "other",
      record: record.success ? record.data : null,
      // A client that gave up waiting: the API server may have stored it all the same.
      ...(code < 300 ? {} : { unsure: text }),
    });
  }

  /**
   * Of everything until now. Pods without a gate may have signed: then only what two signatures contradict is
   * judged, and that a tenure opens above all that they have signed.
   */
  verdict(floorPassMs: number, fenced: boolean): Violation[] {
    this.follow();
    const stored = this.marks.filter(({ unsure }) => unsure === undefined || this.versions.has(unsure));
    const commits = stored.sort((one, other) => one.at - other.at);
    const found = check(this.signed, commits, { floorPassAfter: floorPassMs });
    const always = ["two-digests", "two-signatures-of-a-block", "not-understood", "opened-at-signed-level"];
    return fenced ? found : found.filter(({ code }) => always.includes(code));
  }
  get commits(): number {
    return this.marks.length;
  }
}

/**
 * Follows the config maps of a namespace and keeps every version of a watermark. After a break it goes on with the
 * next version: etcd keeps them.
 */
export class StoredVersions {
  readonly texts = new Set<string>();
  private resourceVersion = "";
  private readonly stopped = new AbortController();

  constructor(
    private readonly plane: Pick<ControlPlane, "url" | "adminToken" | "caFile">,
    private readonly namespace: string,
  ) {
    void this.follow();
  }
  stop(): void {
    this.stopped.abort();
  }

  private async follow(): Promise<void> {
    const { signal } = this.stopped;
    while (!signal.aborted) {
      await this.watch(signal).catch(() => undefined);
      await sleep(100);
    }
  }
  private watch(signal: AbortSignal): Promise<void> {
    const { url, adminToken, caFile } = this.plane;
    const from = `?watch=1&resourceVersion=${this.resourceVersion}`;
    const options = { signal, agent: false, headers: { authorization: `Bearer ${adminToken}` } };
    return new Promise((done, fail) => {
      const sent = get(
        `${url}/api/v1/namespaces/${this.namespace}/configmaps${from}`,
        { ...options, ca: readFileSync(caFile) },
        (response) => {
          lines(response, (line) => this.take(JSON.parse(line) as { type: string; object: AuditedObject }));
          response.once("close", done).once("error", fail);
        },
      );
      sent.once("error", fail);
    });
  }
  private take({ type, object }: { type: string; object: AuditedObject }): void {
    // Too old to go on: begins anew with what there is.
    if (type === "ERROR") this.resourceVersion = "";
    else this.resourceVersion = object.metadata?.resourceVersion ?? this.resourceVersion;
    const text = object.data?.[watermarkDataKey];
    if (text !== undefined) this.texts.add(text);
  }
}
