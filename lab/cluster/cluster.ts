/**
 * A local cluster: the synthesized workloads as pods of this machine, an embedded Kubernetes API with their Role,
 * services, zones, and a network of links that can be cut. Controllers do what StatefulSet, Deployment and kubelet do;
 * their delays are scaled.
 */
import { randomBytes } from "node:crypto";
import { EventEmitter } from "node:events";
import { cpSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { LogEntry } from "../../contract/log";
import { labels } from "../../contract/names";
import { KubeApi, type AuditEntry } from "../kube-api";
import type { LabApi } from "../kube-api/upstream";
import type { Addresses } from "./addresses";
import type { Endpoint, Link } from "./link";
import { podObject, writeSettings, type Member } from "./member";
import { Network } from "./network";
import { Pod } from "./pod";
import { requireOption, resolveCommand, writeShims, type Programs, type RealPrograms } from "./shims";
import { signersByUrl, type StackObjects, type WorkloadSpec } from "./stack";

export interface ClusterOptions {
  stack: StackObjects;
  zones: readonly string[];
  folder: string;
  addresses: Addresses;
  programs: Programs;
  /** 1 = real times. */
  scale: number;
  /** Of a baker. */
  chain: (baker: string) => Endpoint | undefined;
  /** Unix socket of the life lines. */
  trace: string;
  /** Marks every process of this laboratory. */
  run: string;
  doubleStartMs: number;
  /** Hash of the block in the snapshot that pods find. */
  snapshotBlock: () => string;
  onCommit?: (entry: AuditEntry) => void;
  /** Real programs instead of the doubles. */
  octez?: RealPrograms & {
    /** Sits between a pod and a signer. @returns where the pod finds it */
    tapSigner: (member: Member, signer: string, target: () => Endpoint | undefined) => Promise<Endpoint>;
  };
  /** Makes the API. @default an embedded one */
  api?: (onCommit: (entry: AuditEntry) => void) => LabApi;
}
export interface ClusterEvents {
  log: [LogEntry & { container: string }];
  event: [{ level: LogEntry["level"]; pod: string; event: string; reason: string }];
  change: [];
}

export class Cluster extends EventEmitter<ClusterEvents> {
  readonly api: LabApi;
  readonly members = new Set<Member>();
  readonly network: Network;
  readonly downZones = new Set<string>();
  /** Pods whose machine is lost: each has one of its own. */
  readonly downNodes = new Set<string>();
  stack: StackObjects;
  private apiEndpoint: Endpoint = { host: "", port: 0 };
  private stopped = false;
  private wanted = new Map<string, { workload: WorkloadSpec; ordinal: number }>();
  private readonly bin: string;

  constructor(readonly options: ClusterOptions) {
    super();
    this.setMaxListeners(100);
    this.stack = options.stack;
    const onCommit = (entry: AuditEntry): void => options.onCommit?.(entry);
    this.api = options.api?.(onCommit) ?? new KubeApi({ onCommit });
    this.api.onExec = (pod, container, command) => this.member(pod).pod.exec(container, command);
    this.bin = join(options.folder, "bin");
    this.network = new Network(options.addresses.own, this.members, this.downZones, () => this.stack);
  }

  get namespace(): string {
    return this.stack.namespace;
  }
  /** For the operator's commands: KUBECONFIG=... npm run baker -- status */
  get kubeconfig(): string {
    return join(this.options.folder, "kubeconfig");
  }
  /** The newest member of a pod's name that the API knows. */
  member(pod: string): Member {
    const found = [...this.members].find((member) => member.pod.name === pod && !member.orphan);
    if (!found)
      throw new Error(
        `a pod of this cluster: ${[...this.members].map((member) => member.pod.name).join(", ")}; got "${pod}"`,
      );
    return found;
  }
  bakingMembers(): Member[] {
    return [...this.members].filter((member) => member.workload.kind === "StatefulSet");
  }

  async start(): Promise<void> {
    const { options } = this;
    // What the snapshot's publisher shows.
    const snapshot = join(options.folder, "snapshot");
    writeFileSync(snapshot, options.snapshotBlock());
    writeShims(this.bin, options.programs.doubles, snapshot, options.octez);
    const host = options.addresses.own;
    const { port } = await this.api.start({ host, names: ["kubernetes.default.svc"] });
    this.apiEndpoint = { host, port };
    const token = `admin-${options.run}`;
    await this.api.addAdmin(token);
    writeFileSync(this.kubeconfig, this.api.kubeconfig(token, this.stack.namespace), { mode: 0o600 });
    await this.apply(this.stack);
  }

  /**
   * As `terraform apply`: objects are created or changed, config maps and workloads that are gone are deleted; their
   * claims stay.
   */
  async apply(stack: StackObjects): Promise<void> {
    const before = this.stack;
    this.stack = stack;
    const { api } = this;
    const { namespace } = stack;
    for (const { name, rules } of stack.roles) await api.addRole({ metadata: { name, namespace }, rules });
    for (const { name, role, accounts } of stack.bindings)
      await api.addRoleBinding({
        metadata: { name, namespace },
        roleRef: { kind: "Role", name: role },
        subjects: accounts.map((account) => ({ kind: "ServiceAccount", name: account, namespace })),
      });
    for (const { name, labels: objectLabels, data } of stack.configMaps) {
      const known = await api.read("configmaps", namespace, name);
      // Data of a watermark are ignored after the creation.
      if (known && Object.keys(data).length === 0) continue;
      await api.apply("configmaps", namespace, {
        apiVersion: "v1",
        kind: "ConfigMap",
        metadata: { name, namespace, labels: objectLabels },
        data,
      });
    }
    for (const { name } of before.configMaps)
      if (!stack.configMaps.some((kept) => kept.name === name)) await api.remove("configmaps", namespace, name);
    await this.network.makeTunnels();
    this.wanted = new Map();
    for (const workload of stack.workloads) {
      if (workload.template.labels[labels.component] === "signer-link") continue;
      for (let ordinal = 0; ordinal < workload.replicas; ordinal++)
        this.wanted.set(workload.kind === "StatefulSet" ? `${workload.name}-${ordinal}` : `${workload.name}-pod`, {
          workload,
          ordinal,
        });
    }
    for (const member of [...this.members]) if (!this.wanted.has(member.pod.name)) void member.pod.delete();
    await Promise.all([...this.wanted.keys()].map((name) => this.reconcile(name)));
  }

  /**
   * As `terraform apply` and what follows in the cluster: the kubelets hand changed config maps to running pods, and
   * the controller replaces the pods of a StatefulSet whose template has changed.
   */
  async deploy(stack: StackObjects, signal: AbortSignal): Promise<void> {
    const template = ({ workloads }: StackObjects, name: string) =>
      JSON.stringify(workloads.find((entry) => entry.name === name)?.template);
    const before = this.stack;
    await this.apply(stack);
    for (const { pod, workload } of this.members)
      for (const { name, config_map: map } of workload.template.volumes) {
        const { data = {} } = stack.configMaps.find((entry) => entry.name === map?.name) ?? {};
        for (const [file, text] of Object.entries(data))
          writeFileSync(join(pod.options.folder, "volumes", name, file), text, { mode: 0o600 });
      }
    for (const { kind, name } of stack.workloads)
      if (kind === "StatefulSet" && template(before, name) !== template(stack, name))
        await this.rollingUpdate(name, signal);
  }

  /** Creates the pod if it should exist, does not, and its zone is there. */
  private async reconcile(name: string): Promise<void> {
    const entry = this.wanted.get(name);
    if (this.stopped || !entry || [...this.members].some((member) => member.pod.name === name && !member.orphan))
      return;
    const { workload, ordinal } = entry;
    const zones = this.options.zones;
    const claimZone =
      workload.kind === "StatefulSet" && workload.replicas > 1 ? zones[ordinal % zones.length] : undefined;
    const zone = claimZone ?? [...zones].reverse().find((candidate) => !this.downZones.has(candidate));
    if (zone === undefined || this.downZones.has(zone) || this.downNodes.has(name))
      return this.say("warn", name, "unschedulable", "no machine for it");
    await this.createPod(name, workload, ordinal, zone);
  }

  private say(level: LogEntry["level"], pod: string, event: string, reason: string): void {
    this.emit("event", { level, pod, event, reason });
  }

  private async createPod(
    name: string,
    workload: WorkloadSpec,
    ordinal: number,
    zone: string,
    claimsFrom?: string[],
  ): Promise<Member> {
    const { options, namespace } = this;
    const { template } = workload;
    const folder = join(options.folder, "pods", `${name}-${randomBytes(3).toString("hex")}`);
    mkdirSync(folder, { recursive: true });
    const address = options.addresses.take();
    const claims = workload.claims.map((claim, i): [string, string] => {
      const own = claimsFrom?.[i] ?? join(options.folder, "claims", `${claim}-${name}`);
      mkdirSync(own, { recursive: true });
      return [claim, own];
    });
    const token = randomBytes(16).toString("hex");
    if (template.serviceAccount !== undefined)
      await this.api.addToken(token, { namespace, serviceAccount: template.serviceAccount }, name);
    const member: Member = {
      ...{ workload, ordinal, zone, orphan: false, links: [], settings: { clockMs: 0 } },
      settingsFile: join(folder, "settings.json"),
      linkAddress: options.addresses.take(),
      claimFolders: claims.map(([, own]) => own),
      pod: undefined as unknown as Pod,
    };
    const chain = await this.linkOut(member, name);
    const pod = new Pod({
      ...{ name, namespace, zone, address, local: options.addresses.take(), template, folder, scale: options.scale },
      volumes: { ...Object.fromEntries(claims), ...this.volumesOf(workload, folder, token) },
      env: this.environment(name, member.settingsFile, chain),
      resolveCommand: (command) => resolveCommand(this.bin, options.programs.tog, command, address),
      onLog: (entry) => this.emit("log", entry),
    });
    member.pod = pod;
    pod.options.env.LAB_POD_UID = pod.uid;
    this.members.add(member);
    if (workload.kind === "StatefulSet") await this.network.connectPeers(member);
    writeSettings(member);
    this.register(member);
    this.follow(member);
    this.say("info", name, "pod-created", `${zone}, ${address}`);
    void pod.start();
    return member;
  }

  /** Folders with the content of the volumes that are no claims. */
  private volumesOf(workload: WorkloadSpec, folder: string, token: string): Record<string, string> {
    const { configMaps, secrets } = this.stack;
    const volumes: Record<string, string> = {};
    for (const volume of workload.template.volumes) {
      const target = join(folder, "volumes", volume.name);
      const source = volume.config_map
        ? configMaps.find((entry) => entry.name === volume.config_map?.name)
        : secrets.find((entry) => entry.name === volume.secret?.secret_name);
      mkdirSync(target, { recursive: true });
      volumes[volume.name] = target;
      for (const [file, text] of Object.entries(source?.data ?? {}))
        writeFileSync(join(target, file), text, { mode: 0o600 });
      if (volume.projected) this.api.writeKubeDir(target, token, this.namespace);
    }
    return volumes;
  }

  /** The pod's ways to the chain, the API and the services. @returns the one to the chain */
  private async linkOut(member: Member, name: string): Promise<Link> {
    const { network } = this;
    const baker = member.workload.template.labels[labels.baker] ?? "";
    const chain = await network.link(member, "chain", `${name} to chain`, "chain:1", "chain", () =>
      this.options.chain(baker),
    );
    await network.link(member, "api", `${name} to API`, "kubernetes.default.svc:443", "api", () => this.apiEndpoint);
    for (const service of this.stack.services)
      for (const { port } of service.ports) {
        const target = () => network.serviceTarget(service.name, port);
        const tap = await this.options.octez?.tapSigner(member, service.name, target);
        await network.link(
          ...([member, "signer", `${name} to ${service.name}`, `${service.name}:${port}`, service.name] as const),
          () => tap ?? target(),
        );
      }
    for (const { signer, host, port } of signersByUrl(this.stack, baker))
      await network.link(member, "signer", `${name} to ${signer}`, `${host}:${port}`, signer, () =>
        network.homeSigners.get(signer),
      );
    return chain;
  }

  private environment(pod: string, settingsFile: string, { address }: Link): Record<string, string> {
    const { options } = this;
    return {
      PATH: `${this.bin}:/usr/local/bin:/usr/bin:/bin`,
      KUBERNETES_SERVICE_HOST: "kubernetes.default.svc",
      KUBERNETES_SERVICE_PORT: "443",
      NODE_OPTIONS: requireOption(options.programs.preload),
      LAB_SETTINGS: settingsFile,
      LAB_RUN: options.run,
      // Programs of its folder that are doubles after all are not to be counted twice.
      LAB_TRACE: options.octez ? "" : options.trace,
      LAB_CHAIN: `${address.host}:${address.port}`,
      LAB_START_MS: String(options.doubleStartMs),
      LAB_SCALE: String(options.scale),
      LAB_POD: pod,
    };
  }

  private follow(member: Member): void {
    const { pod } = member;
    pod.on("change", () => {
      if (!member.orphan && !pod.ended) this.register(member);
      this.emit("change");
    });
    pod.on("container", ({ container, event, reason }) =>
      this.say(event === "started" ? "info" : "warn", pod.name, `container-${event}`, `${container}: ${reason}`),
    );
    pod.once("gone", () => this.onGone(member));
  }

  private onGone(member: Member): void {
    this.members.delete(member);
    this.network.forget(member);
    if (!member.orphan) this.unwaited(member.pod.name, this.api.remove("pods", this.namespace, member.pod.name));
    this.say("warn", member.pod.name, "pod-gone", member.pod.uid.slice(0, 8));
    this.emit("change");
    // Controller, scheduler and kubelet take their time.
    setTimeout(() => void this.reconcile(member.pod.name), 3000 * this.options.scale).unref();
  }

  private register(member: Member): void {
    this.unwaited(member.pod.name, this.api.apply("pods", this.namespace, podObject(member, this.namespace)));
  }

  /** What the API is told of pods; nobody waits for it. */
  private unwaited(pod: string, told: unknown): void {
    Promise.resolve(told).catch((error: unknown) => {
      if (!this.stopped) this.say("warn", pod, "api", String(error));
    });
  }

  // What can be done to it

  stepClock(pod: string, ms: number): void {
    const member = this.member(pod);
    member.settings.clockMs = ms;
    writeSettings(member);
  }
  /** The cluster's DNS does not answer this pod. */
  silenceNames(pod: string, silent: boolean): void {
    const member = this.member(pod);
    member.settings.namesSilent = silent;
    writeSettings(member);
  }
  disk(pod: string, state: { full: boolean; delayMs: number } | undefined): void {
    const member = this.member(pod);
    member.settings.disk = state && { folders: member.claimFolders, ...state };
    writeSettings(member);
  }
  /** Processes end at once; the controller makes a new pod. */
  killPod(name: string): void {
    this.member(name).pod.kill();
  }
  /**
   * Removed from the API while its processes run on, as by `kubectl delete --force` of a pod on a machine that nobody
   * reaches. Its disk is copied.
   */
  async twin(name: string): Promise<{ old: Member; young: Member }> {
    const old = this.member(name);
    old.orphan = true;
    await this.api.remove("pods", this.namespace, name);
    const copies = old.claimFolders.map((claim) => {
      const copy = `${claim}-twin`;
      rmSync(copy, { recursive: true, force: true });
      cpSync(claim, copy, { recursive: true, filter: (path) => !path.endsWith("/lock") });
      return copy;
    });
    const young = await this.createPod(name, old.workload, old.ordinal, old.zone, copies);
    return { old, young };
  }
  /** The pod ends at once and is not made again until its machine is back. */
  loseNode(name: string): void {
    this.downNodes.add(name);
    this.killPod(name);
  }
  restoreNode(name: string): Promise<void> {
    this.downNodes.delete(name);
    return this.reconcile(name);
  }
  /** Everything in it ends at once and nothing is made there until it is back. */
  loseZone(zone: string): void {
    this.downZones.add(zone);
    this.network.setZone(zone, "refuse");
    for (const member of [...this.members]) if (member.zone === zone) member.pod.kill();
  }
  async restoreZone(zone: string): Promise<void> {
    this.downZones.delete(zone);
    this.network.setZone(zone, "open");
    await Promise.all([...this.wanted.keys()].map((name) => this.reconcile(name)));
  }
  /** Highest ordinal first; each must be ready for minReadySeconds before the next. */
  async rollingUpdate(statefulSet: string, signal: AbortSignal): Promise<void> {
    const workload = this.stack.workloads.find((entry) => entry.name === statefulSet);
    if (!workload) throw new Error(`no StatefulSet ${statefulSet}`);
    for (let ordinal = workload.replicas - 1; ordinal >= 0 && !signal.aborted; ordinal--) {
      const name = `${statefulSet}-${ordinal}`;
      const before = this.member(name).pod;
      await before.delete();
      while (!signal.aborted) {
        const now = [...this.members].find(
          (member) => member.pod.name === name && member.pod !== before && !member.orphan,
        )?.pod;
        if (
          now?.readyAtMs !== undefined &&
          Date.now() - now.readyAtMs >= workload.minReadySeconds * 1000 * this.options.scale
        )
          break;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }

  async stop(): Promise<void> {
    this.stopped = true;
    for (const member of [...this.members]) member.pod.kill();
    this.network.close();
    await this.api.dispose();
  }
}
