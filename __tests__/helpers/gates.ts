/**
 * Gates of one baker over real sockets: the embedded API, doubles of octez-signer, and both logs of the checker in one
 * order.
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { labels, watermarkDataKey, watermarkName } from "../../contract/names";
import { timingsSchema, type Timings } from "../../contract/timings";
import { readWatermark, watermarkSchema, type Watermark } from "../../contract/watermark";
import { systemClock, sleep } from "../../daemons/runtime/clock";
import { writeDurably } from "../../daemons/runtime/durable";
import { serveHttp, type HttpServer } from "../../daemons/runtime/http-server";
import { createKubeClient } from "../../daemons/runtime/kube-client";
import type { ConfigMap } from "../../daemons/runtime/kube";
import type { Log } from "../../daemons/runtime/log";
import { Commitments, type CommitmentsFile } from "../../daemons/signing-gate/commitments";
import { isSynced } from "../../daemons/signing-gate/decide";
import { Gate } from "../../daemons/signing-gate/gate";
import { LeadershipView } from "../../daemons/signing-gate/leadership";
import { MarksMemory } from "../../daemons/signing-gate/memory";
import { gateRoutes } from "../../daemons/signing-gate/server";
import { slotFile } from "../../daemons/signing-gate/slot-file";
import { Upstream } from "../../daemons/signing-gate/upstream";
import { check, type CommitEntry, type SignerEntry, type Violation } from "../../lab/checker/checker";
import { OctezSigner, type OctezSignerOptions } from "../../lab/doubles/signer-server";
import { TcpSigner } from "../../lab/doubles/tcp-signer";
import { type SigningKey } from "../../lab/doubles/signing-keys";
import { KubeApi, type KubeApiOptions } from "../../lab/kube-api";
import type { LabApi } from "../../lab/kube-api/upstream";
import { expectBase58 } from "../../tezos/base58";
import { leastDalBits } from "../../tezos/protocols";
import { encodeBlockRequest, encodeVoteRequest } from "../../tezos/signing-request";

export const baker = "alice";
export const namespace = "bakers";
export const chainName = "NetXdQprcVkpaWU";
export const chainId = expectBase58("chainId", chainName);

/** Scaled down, so that a hanging signer costs a test 0.5 s; what is well answers sooner on a busy machine, too. */
export const quick: Timings = {
  ...timingsSchema.parse({}),
  gateBudgetMs: 2000,
  markWriteMs: 600,
  signerTimeoutMs: 500,
  requestTimeoutMs: 600,
  floorPassSeconds: 0.3,
};
/** Nothing is to run out of time but what hangs. */
export const unhurried: Timings = {
  ...{ ...quick, gateBudgetMs: 9000, markWriteMs: 2000, requestTimeoutMs: 2000 },
  ...{ signerTimeoutMs: 1500, memberRenewSeconds: 0.1 },
};

export type Kind = "block" | "preattestation" | "attestation";
export function request(
  kind: Kind,
  level: number,
  round = 0,
  payload = 1,
  options: { seedNonceHash?: Uint8Array; tag?: number; dal?: Uint8Array } = {},
): Uint8Array {
  const fields = {
    chainId,
    level,
    round,
    payloadHash: new Uint8Array(32).fill(payload & 0xff, 0, 31).fill(payload >> 8, 31),
  };
  if (kind === "block") return encodeBlockRequest({ ...fields, seedNonceHash: options.seedNonceHash ?? null });
  return encodeVoteRequest({ ...fields, tag: options.tag ?? (kind === "preattestation" ? 20 : 21), dal: options.dal });
}
export interface Answer {
  status: number;
  signature?: string;
  reason?: string;
  ms: number;
}
export async function post(url: string, address: string, bytes: Uint8Array, query = ""): Promise<Answer> {
  const started = performance.now();
  const response = await fetch(`${url}/keys/${address}${query}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(Buffer.from(bytes).toString("hex")),
  });
  const body = (await response.json()) as { signature?: string } | { error: string }[];
  const ms = performance.now() - started;
  return Array.isArray(body)
    ? { status: response.status, reason: body[0]?.error, ms }
    : { status: response.status, signature: body.signature, ms };
}

export interface GatePod {
  url: string;
  identity: string;
  client: string;
  gate: Gate;
  upstream: Upstream;
  commitments: Commitments;
  logged: string[];
  lead(epoch: number, options?: { validMs?: number; gate?: "open" | "shut" }): void;
  sign(address: string, bytes: Uint8Array, query?: string): Promise<Answer>;
  /** As by SIGKILL; the folder stays. */
  close(): Promise<void>;
}

/** Another API than the embedded one for all worlds to come. */
export interface OtherApi {
  make(options: KubeApiOptions): LabApi;
  /** Whose tokens the gates get. */
  serviceAccount: string;
}
let otherApi: OtherApi | undefined;
export const useOtherApi = (other: OtherApi): void => void (otherApi = other);

export class GateWorld {
  readonly folder = mkdtempSync(join(tmpdir(), "tog-gates-"));
  readonly signed: SignerEntry[] = [];
  readonly commits: CommitEntry[] = [];
  readonly signers: OctezSigner[] = [];
  /** In front of those that are asked over TCP, by their place among the signers. */
  readonly tcpSigners = new Map<number, TcpSigner>();
  readonly urls: string[] = [];
  readonly pods: GatePod[] = [];
  /** Set to hear of each commit before it is answered. */
  onCommit: (entry: CommitEntry) => void = () => undefined;
  head: { level: number; ageSeconds: number } | undefined = { level: 1000, ageSeconds: 0 };
  synced = true;
  /** The chain's constant `aggregate_attestation`. */
  aggregates: boolean | null = true;
  dalBits = leastDalBits;
  private order = 0;
  private readonly apiOptions: KubeApiOptions = {
    onCommit: (entry) => {
      if (entry.resource !== "configmaps") return;
      const text =
        entry.type === "DELETED"
          ? undefined
          : (entry.object as { data?: Record<string, string> }).data?.[watermarkDataKey];
      const commit: CommitEntry = {
        at: this.stamp(),
        address: this.keys.find((key) => watermarkName(key.address) === entry.name)?.address ?? "",
        uid: entry.object.metadata.uid,
        by: entry.client === "" ? "other" : "gate",
        record: text === undefined || text === "" ? null : (watermarkSchema.safeParse(JSON.parse(text)).data ?? null),
      };
      this.commits.push(commit);
      this.onCommit(commit);
    },
  };
  /** The embedded API. */
  readonly api = new KubeApi(this.apiOptions);
  /** The API that the pods see. */
  readonly front: LabApi = otherApi?.make(this.apiOptions) ?? this.api;
  apiUrl = "";

  /** Milliseconds, each one later than the last. */
  private stamp(): number {
    return (this.order = Math.max(this.order + 1e-4, performance.now()));
  }

  constructor(
    readonly keys: readonly SigningKey[],
    readonly timings: Timings = quick,
  ) {}

  async start(
    signers: readonly (Partial<OctezSignerOptions> & { tcp?: "octez-signer" | "russignol" })[] = [{}],
  ): Promise<this> {
    this.apiUrl = (await this.front.start({ tls: false })).url;
    for (const [i, { tcp, ...given }] of signers.entries()) {
      const options: OctezSignerOptions = {
        keys: this.keys,
        name: `s${i + 1}`,
        now: () => this.stamp(),
        onRequest: (entry) => this.signed.push(entry),
        ...given,
      };
      const signer = new OctezSigner(options);
      this.signers.push(signer);
      if (tcp !== undefined) {
        const front = new TcpSigner(signer, { ...options, device: tcp });
        this.tcpSigners.set(i, front);
        this.urls.push(`tcp://127.0.0.1:${await front.start("127.0.0.1")}`);
        continue;
      }
      this.urls.push(`http://127.0.0.1:${await signer.start("127.0.0.1")}${options.prefix ?? ""}`);
    }
    for (const key of this.keys) await this.put(key.address, this.record());
    return this;
  }
  /** A baker in operation: everything up to level 999 is behind it. */
  record(fields: Partial<Watermark> = {}): Watermark {
    const marks = { block: null, preattestation: null, attestation: null };
    return { version: 1, baker, chain: chainName, epoch: 0, holder: "", floor: 999, marks, unfenced: false, ...fields };
  }
  async put(address: string, record: Watermark | undefined): Promise<void> {
    await this.front.apply("configmaps", namespace, {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: watermarkName(address), namespace, labels: { [labels.baker]: baker } },
      data: record ? { [watermarkDataKey]: JSON.stringify(record) } : {},
    });
  }
  /** Lets a pod in. */
  async admit(token: string, client: string): Promise<void> {
    if (otherApi) await this.front.addToken(token, { namespace, serviceAccount: otherApi.serviceAccount }, client);
    else await this.front.addAdmin(token, client);
  }
  /** The object as it is now. */
  stored(address: string): ConfigMap | undefined {
    return this.api.read("configmaps", namespace, watermarkName(address)) as ConfigMap | undefined;
  }
  remove(address: string): void {
    this.api.remove("configmaps", namespace, watermarkName(address));
  }
  read(address: string): Watermark {
    const object = this.api.read("configmaps", namespace, watermarkName(address)) as
      { data?: Record<string, string> } | undefined;
    return watermarkSchema.parse(JSON.parse(object?.data?.[watermarkDataKey] ?? "null"));
  }

  async pod(
    name: string,
    uid: string,
    /** @param options boot: the start of the machine (memory.ts) */
    options: {
      deterministic?: boolean;
      zone?: string;
      zones?: (string | null)[];
      oneSigner?: boolean;
      health?: boolean;
      boot?: string;
      /** Nothing is on its disk; otherwise it remembers the watermarks as they are when it comes first. */
      newDisk?: boolean;
    } = {},
  ): Promise<GatePod> {
    const { timings } = this;
    const identity = `${name}_${uid}`;
    const client = identity;
    await this.admit(`token-${identity}`, client);
    const kubeDir = join(this.folder, identity, "kube");
    this.front.writeKubeDir(kubeDir, `token-${identity}`, namespace);
    const state = join(this.folder, name, "gate");
    await mkdir(state, { recursive: true });
    const file = (path: string): CommitmentsFile => ({
      read: () =>
        readFile(join(state, path), "utf8").catch((error: NodeJS.ErrnoException) => {
          if (error.code === "ENOENT") return undefined;
          throw error;
        }),
      write: (content) => writeDurably(join(state, path), content),
    });
    const logged: string[] = [];
    const write = (event: string, reason: string, fields?: object) =>
      void logged.push(JSON.stringify({ event, reason, ...fields }));
    const log: Log = { debug: write, info: write, warn: write, error: write };
    const marks = join(state, "marks");
    const knowsNothing = !existsSync(marks);
    const { memory } = await MarksMemory.load(
      slotFile(marks),
      chainName,
      this.keys.map((key) => key.address),
      options.boot ?? "boot 1",
    );
    for (const { address } of knowsNothing && !options.newDisk ? this.keys : []) {
      const uid = this.stored(address)?.metadata.uid;
      const record = readWatermark(this.stored(address)?.data?.[watermarkDataKey]);
      if (uid && record.state === "record" && !record.record.unfenced) await memory.commit(address, uid, record.record);
    }
    const { commitments } = await Commitments.load(file("commitments.json"));
    const kube = createKubeClient({ url: this.apiUrl, kubeDir, namespace, clock: systemClock });
    const leadership = new LeadershipView(identity, () => systemClock.nowNs());
    const zones = options.zones ?? this.urls.map(() => null);
    const deterministic = options.deterministic ?? true;
    const signers = options.oneSigner
      ? [{ name: "home", deterministic, endpoints: this.urls.map((url, i) => ({ url, zone: zones[i] ?? null })) }]
      : this.urls.map((url, i) => ({ name: `s${i + 1}`, deterministic, endpoints: [{ url, zone: zones[i] ?? null }] }));
    const upstream = new Upstream({
      file: {
        keys: this.keys.map((key) => ({
          address: key.address,
          alias: key.address,
          watermark: watermarkName(key.address),
          signers: signers.map((signer) => signer.name),
        })),
        signers,
      },
      zone: options.zone ?? "",
      ordinal: 0,
      podAddress: "",
      timings,
      clock: systemClock,
      log,
    });
    if (options.health !== false) await upstream.check();
    const gate = new Gate({
      baker,
      chainId: chainName,
      identity,
      keys: this.keys.map((key) => ({ address: key.address, deterministic })),
      timings,
      clock: systemClock,
      sleep,
      kube,
      memory,
      leadership,
      heads: {
        aggregates: () => this.aggregates,
        dalBits: () => this.dalBits,
        own: () => this.head && { ...this.head, highestLevel: this.head.level, heardAgoMs: 0 },
        synced: () =>
          Promise.resolve(
            this.synced && this.head && isSynced(this.head, timings.headFreshSeconds) ? this.head.level : null,
          ),
      },
      signer: upstream,
      log,
      onCommitment: (commitment) => commitments.add({ ...commitment, atMs: systemClock.wall() }),
    });
    const server: HttpServer = await serveHttp({ host: "127.0.0.1", port: 0, routes: gateRoutes(gate, upstream) });
    const url = `http://127.0.0.1:${server.port}`;
    const pod: GatePod = {
      url,
      identity,
      client,
      gate,
      upstream,
      commitments,
      logged,
      lead: (epoch, { validMs = 60_000, gate: command = "open" } = {}) =>
        leadership.update({
          holder: name,
          holderIdentity: identity,
          self: identity,
          leaseUid: "lease",
          epoch,
          state: "active",
          reason: "",
          validUntilNs: String(systemClock.nowNs() + BigInt(Math.round(validMs * 1e6))),
          gate: command,
          daemons: "run",
          nonces: "follow",
        }),
      sign: (address, bytes, query) => post(url, address, bytes, query),
      close: async () => {
        gate.close();
        await server.close();
        upstream.close();
        kube.close();
      },
    };
    this.pods.push(pod);
    return pod;
  }

  violations(): Violation[] {
    return check(this.signed, this.commits, { floorPassAfter: this.timings.floorPassSeconds * 1000 });
  }
  async close(): Promise<void> {
    for (const pod of this.pods) await pod.close();
    for (const signer of [...this.tcpSigners.values(), ...this.signers]) await signer.close();
    await this.front.dispose();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
