/**
 * A local cluster: the synthesized workloads as pods of this machine, an embedded Kubernetes API with their Role,
 * services, zones, and a network of links that can be cut. Controllers do what StatefulSet, Deployment and kubelet do;
 * their delays are scaled.
 */
import { randomBytes } from "node:crypto";
import { EventEmitter } from "node:events";
import { cpSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { isIP } from "node:net";
import { join } from "node:path";
import type { LogEntry } from "../../contract/log";
import { labels } from "../../contract/names";
import { ports } from "../../contract/ports";
import { secondsTime } from "../../daemons/runtime/kube";
import { KubeApi, type AuditEntry } from "../kube-api";
import type { LabApi } from "../kube-api/upstream";
import type { Addresses } from "./addresses";
import { Link, type Endpoint, type LinkMode } from "./link";
import { Pod } from "./pod";
import type { StackObjects, WorkloadSpec } from "./stack";

export interface Programs {
  /** Bundle of the daemons. */
  tog: string;
  /** Bundle of the doubles: the first argument names the program. */
  doubles: string;
  preload: string;
}
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
  /** Makes the API. @default an embedded one */
  api?: (onCommit: (entry: AuditEntry) => void) => LabApi;
}
export interface ClusterEvents {
  log: [LogEntry & { container: string }];
  event: [{ level: LogEntry["level"]; pod: string; event: string; reason: string }];
  change: [];
}

/** What a pod reaches, each over its own links. */
export const directions = ["api", "chain", "signer", "peer"] as const;
export type Direction = (typeof directions)[number];

export interface Member {
  pod: Pod;
  workload: WorkloadSpec;
  ordinal: number;
  zone: string;
  /** Removed from the API while its processes run on. */
  orphan: boolean;
  links: { direction: Direction; link: Link; key: string; to: string }[];
  settings: { clockMs: number; namesSilent?: boolean; disk?: { folders: string[]; full: boolean; delayMs: number } };
  settingsFile: string;
  linkAddress: string;
  claimFolders: string[];
}
/** A reverse tunnel of the signer link: between the service of its zone and the signer at home. */
export interface Tunnel {
  service: string;
  signer: string;
  zone: string;
  link: Link;
}

/** For NODE_OPTIONS, which is split at spaces that are not quoted: a folder may have some. */
export const requireOption = (path: string): string => `--require=${JSON.stringify(path)}`;

export class Cluster extends EventEmitter<ClusterEvents> {
  readonly api: LabApi;
  readonly members = new Set<Member>();
  readonly tunnels: Tunnel[] = [];
  readonly downZones = new Set<string>();
  /** Pods whose machine is lost: each has one of its own. */
  readonly downNodes = new Set<string>();
  stack: StackObjects;
  private apiEndpoint: Endpoint = { host: "", port: 0 };
  private stopped = false;
  private wanted = new Map<string, { workload: WorkloadSpec; ordinal: number }>();
  private readonly bin: string;
  /** Signer name -> where its program listens. */
  readonly homeSigners = new Map<string, Endpoint>();

  constructor(readonly options: ClusterOptions) {
    super();
    this.setMaxListeners(100);
    this.stack = options.stack;
    const onCommit = (entry: AuditEntry): void => options.onCommit?.(entry);
    this.api = options.api?.(onCommit) ?? new KubeApi({ onCommit });
    this.api.onExec = (pod, container, command) => this.member(pod).pod.exec(container, command);
    this.bin = join(options.folder, "bin");
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
    this.writeShims();
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
    await this.makeTunnels(stack);
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
    const { options, api, namespace } = this;
    const folder = join(options.folder, "pods", `${name}-${randomBytes(3).toString("hex")}`);
    mkdirSync(folder, { recursive: true });
    const address = options.addresses.take();
    const linkAddress = options.addresses.take();
    const settingsFile = join(folder, "settings.json");
    const volumes: Record<string, string> = {};
    const claimFolders = workload.claims.map((claim, i) => {
      const own = claimsFrom?.[i] ?? join(options.folder, "claims", `${claim}-${name}`);
      mkdirSync(own, { recursive: true });
      volumes[claim] = own;
      return own;
    });
    const token = randomBytes(16).toString("hex");
    if (workload.template.serviceAccount !== undefined)
      await api.addToken(token, { namespace, serviceAccount: workload.template.serviceAccount }, name);
    for (const volume of workload.template.volumes) {
      const target = join(folder, "volumes", volume.name);
      const files = volume.config_map
        ? this.stack.configMaps.find((entry) => entry.name === volume.config_map?.name)?.data
        : volume.secret
          ? this.stack.secrets.find((entry) => entry.name === volume.secret?.secret_name)?.data
          : undefined;
      mkdirSync(target, { recursive: true });
      volumes[volume.name] = target;
      for (const [file, text] of Object.entries(files ?? {})) writeFileSync(join(target, file), text, { mode: 0o600 });
      if (volume.projected) api.writeKubeDir(target, token, namespace);
    }
    const member: Member = {
      ...{
        workload,
        ordinal,
        zone,
        orphan: false,
        links: [],
        settings: { clockMs: 0 },
        settingsFile,
        linkAddress,
        claimFolders,
      },
      pod: undefined as unknown as Pod,
    };
    const chain = await this.link(member, "chain", `${name} to chain`, "chain:1", "chain", () =>
      options.chain(workload.template.labels[labels.baker] ?? ""),
    );
    await this.link(member, "api", `${name} to API`, "kubernetes.default.svc:443", "api", () => this.apiEndpoint);
    for (const service of this.stack.services)
      for (const { port } of service.ports)
        await this.link(member, "signer", `${name} to ${service.name}`, `${service.name}:${port}`, service.name, () =>
          this.serviceTarget(service.name, port),
        );
    const pod = new Pod({
      ...{
        name,
        namespace,
        zone,
        address,
        local: options.addresses.take(),
        template: workload.template,
        folder,
        volumes,
        scale: options.scale,
      },
      env: {
        PATH: `${this.bin}:/usr/local/bin:/usr/bin:/bin`,
        KUBERNETES_SERVICE_HOST: "kubernetes.default.svc",
        KUBERNETES_SERVICE_PORT: "443",
        NODE_OPTIONS: requireOption(options.programs.preload),
        LAB_SETTINGS: settingsFile,
        LAB_RUN: options.run,
        LAB_TRACE: options.trace,
        LAB_CHAIN: `${chain.address.host}:${chain.address.port}`,
        LAB_START_MS: String(options.doubleStartMs),
        LAB_SCALE: String(options.scale),
        LAB_POD: name,
      },
      resolveCommand: (command) => this.resolveCommand(command, address),
      onLog: (entry) => this.emit("log", entry),
    });
    member.pod = pod;
    pod.options.env.LAB_POD_UID = pod.uid;
    this.members.add(member);
    if (workload.kind === "StatefulSet") await this.connectPeers(member);
    this.writeSettings(member);
    this.register(member);
    pod.on("change", () => {
      if (!member.orphan && !pod.ended) this.register(member);
      this.emit("change");
    });
    pod.on("container", ({ container, event, reason }) =>
      this.say(event === "started" ? "info" : "warn", name, `container-${event}`, `${container}: ${reason}`),
    );
    pod.once("gone", () => this.onGone(member));
    this.say("info", name, "pod-created", `${zone}, ${address}`);
    void pod.start();
    return member;
  }

  private onGone(member: Member): void {
    this.members.delete(member);
    for (const { link } of member.links) link.close();
    for (const other of this.members) {
      const mine = other.links.filter((entry) => entry.direction === "peer" && entry.to === member.pod.uid);
      for (const entry of mine) entry.link.close();
      other.links = other.links.filter((entry) => !mine.includes(entry));
      if (mine.length > 0) this.writeSettings(other);
    }
    if (!member.orphan) this.unwaited(member.pod.name, this.api.remove("pods", this.namespace, member.pod.name));
    this.say("warn", member.pod.name, "pod-gone", member.pod.uid.slice(0, 8));
    this.emit("change");
    // Controller, scheduler and kubelet take their time.
    setTimeout(() => void this.reconcile(member.pod.name), 3000 * this.options.scale).unref();
  }

  private async link(
    member: Member,
    direction: Direction,
    name: string,
    key: string,
    to: string,
    target: () => Endpoint | undefined,
  ): Promise<Link> {
    const link = await new Link(name, target).listen(member.linkAddress, 0);
    member.links.push({ direction, link, key, to });
    return link;
  }

  /** Both ways between this pod and the others of its workload, old incarnations too. */
  private async connectPeers(member: Member): Promise<void> {
    for (const other of this.bakingMembers()) {
      if (other === member || other.workload.name !== member.workload.name) continue;
      for (const [from, to] of [
        [member, other],
        [other, member],
      ] as const) {
        const { address } = to.pod.options;
        for (const port of [ports.nonceExposer, ports.nonceImporter, ports.elector]) {
          const link = await this.link(
            from,
            "peer",
            `${from.pod.name} to ${to.pod.name}`,
            `${address}:${port}`,
            to.pod.uid,
            () => ({
              host: address,
              port,
            }),
          );
          // By the name that the headless service gives it, too.
          from.links.push({
            direction: "peer",
            link,
            key: `${to.pod.name}.${to.workload.name}:${port}`,
            to: to.pod.uid,
          });
        }
      }
      this.writeSettings(other);
    }
  }

  private writeSettings(member: Member): void {
    const routes = Object.fromEntries(
      member.links.map(({ key, link }) => [key, `${link.address.host}:${link.address.port}`]),
    );
    // The API is reached by address in a cluster.
    const hosts = member.links.filter(({ direction }) => direction === "signer" || direction === "peer");
    const names = hosts.map(({ key }) => key.split(":")[0] ?? "").filter((host) => isIP(host) === 0);
    const temporary = `${member.settingsFile}.new`;
    writeFileSync(temporary, JSON.stringify({ routes, names, ...member.settings }));
    renameSync(temporary, member.settingsFile);
  }

  private register(member: Member): void {
    const { pod, zone, workload } = member;
    const told = this.api.apply("pods", this.namespace, {
      ...{ apiVersion: "v1", kind: "Pod" },
      metadata: {
        ...{ name: pod.name, namespace: this.namespace, uid: pod.uid },
        labels: { ...workload.template.labels, [labels.zone]: zone },
        ...(pod.phase === "Terminating" ? { deletionTimestamp: secondsTime(Date.now()) } : {}),
      },
      spec: { nodeName: `node-${zone}` },
      status: {
        phase: pod.phase === "Terminating" ? "Running" : pod.phase,
        podIP: pod.options.address,
        conditions: [{ type: "Ready", status: pod.ready ? "True" : "False" }],
        ...(pod.init === undefined
          ? {}
          : { initContainerStatuses: [{ name: pod.init, ready: false, restartCount: 0, state: { running: {} } }] }),
        containerStatuses: pod.containers.map((container) => ({
          ...{ name: container.spec.name, ready: container.ready, restartCount: container.restarts },
          state: container.state === "running" ? { running: {} } : { waiting: { reason: container.state } },
          lastState: container.lastTerminated === undefined ? {} : { terminated: container.lastTerminated },
        })),
      },
    });
    this.unwaited(pod.name, told);
  }

  /** What the API is told of pods; nobody waits for it. */
  private unwaited(pod: string, told: unknown): void {
    Promise.resolve(told).catch((error: unknown) => {
      if (!this.stopped) this.say("warn", pod, "api", String(error));
    });
  }

  private resolveCommand(command: string[], address: string): string[] {
    // A server on all addresses of a pod listens on the pod's own one here.
    const words = command.map((word) => (word === "0.0.0.0" ? address : word));
    const at = words.indexOf("/usr/local/bin/tog");
    if (at === 0 || (at > 0 && words[0] === "/sbin/tini"))
      return [process.execPath, this.options.programs.tog, ...words.slice(at + 1)];
    const known = join(this.bin, words[0] ?? "");
    return existsSync(known) ? [known, ...words.slice(1)] : words;
  }

  /** Programs of the images that run here as doubles. */
  private writeShims(): void {
    mkdirSync(this.bin, { recursive: true });
    const write = (name: string, text: string) =>
      writeFileSync(join(this.bin, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
    for (const name of ["octez-node", "octez-baker", "octez-dal-node", "octez-accuser", "octez-signer", "predecessor"])
      write(name, `exec "${process.execPath}" "${this.options.programs.doubles}" ${name} "$@"`);
    // The snapshot's publisher: the page with the hash, and the file.
    const snapshot = join(this.options.folder, "snapshot");
    writeFileSync(snapshot, this.options.snapshotBlock());
    write(
      "wget",
      [
        "out=-",
        "while [ $# -gt 1 ]; do case $1 in -O) out=$2; shift 2 ;; -T) shift 2 ;; *) shift ;; esac; done",
        `block=$(cat "${snapshot}")`,
        'case $1 in *.html) body="<html>$block</html>" ;; *) body="{\\"block\\":\\"$block\\"}" ;; esac',
        'if [ "$out" = - ]; then printf "%s\\n" "$body"; else printf "%s\\n" "$body" >"$out"; fi',
      ].join("\n"),
    );
  }

  // Services and the signer link

  private async makeTunnels(stack: StackObjects): Promise<void> {
    for (const workload of stack.workloads) {
      if (
        workload.template.labels[labels.component] !== "signer-link" ||
        this.tunnels.some((tunnel) => tunnel.service === workload.name)
      )
        continue;
      const signer = workload.template.labels["tezos-on-gke/signer"] ?? "";
      const zone = workload.template.labels["tezos-on-gke/zone"] ?? "";
      const link = await new Link(`tunnel ${signer} ${zone}`, () => this.homeSigners.get(signer)).listen(
        this.options.addresses.own,
        0,
      );
      this.tunnels.push({ service: workload.name, signer, zone, link });
    }
  }
  private serviceTarget(name: string, port: number): Endpoint | undefined {
    const service = this.stack.services.find((entry) => entry.name === name);
    const target = service?.ports.find((entry) => entry.port === port)?.target;
    if (!service || target === undefined) return undefined;
    const selects = (podLabels: Record<string, string>) =>
      Object.entries(service.selector).every(([key, value]) => podLabels[key] === value);
    const pod = [...this.members].find((member) => member.pod.ready && selects(member.workload.template.labels))?.pod;
    if (pod) return { host: pod.options.address, port: target };
    const tunnel = this.tunnels.find(
      (entry) =>
        !this.downZones.has(entry.zone) &&
        selects(this.stack.workloads.find((workload) => workload.name === entry.service)?.template.labels ?? {}),
    );
    return tunnel?.link.address;
  }

  // What can be done to it

  /** `silent` and `refuse` are real: the bytes do not pass. */
  cut(pod: string, direction: Direction, mode: LinkMode): void {
    const members = [...this.members].filter((member) => member.pod.name === pod);
    for (const member of members)
      for (const entry of member.links) if (entry.direction === direction) entry.link.mode = mode;
    if (direction === "peer")
      for (const other of this.members)
        for (const entry of other.links)
          if (entry.direction === "peer" && members.some((member) => member.pod.uid === entry.to))
            entry.link.mode = mode;
  }
  slow(pod: string, direction: Direction, ms: number): void {
    for (const entry of this.member(pod).links) if (entry.direction === direction) entry.link.delayMs = ms;
  }
  stepClock(pod: string, ms: number): void {
    const member = this.member(pod);
    member.settings.clockMs = ms;
    this.writeSettings(member);
  }
  /** The cluster's DNS does not answer this pod. */
  silenceNames(pod: string, silent: boolean): void {
    const member = this.member(pod);
    member.settings.namesSilent = silent;
    this.writeSettings(member);
  }
  disk(pod: string, state: { full: boolean; delayMs: number } | undefined): void {
    const member = this.member(pod);
    member.settings.disk = state && { folders: member.claimFolders, ...state };
    this.writeSettings(member);
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
    for (const tunnel of this.tunnels) if (tunnel.zone === zone) tunnel.link.mode = "refuse";
    for (const member of [...this.members]) if (member.zone === zone) member.pod.kill();
  }
  async restoreZone(zone: string): Promise<void> {
    this.downZones.delete(zone);
    for (const tunnel of this.tunnels) if (tunnel.zone === zone) tunnel.link.mode = "open";
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
    for (const tunnel of this.tunnels) tunnel.link.close();
    await this.api.dispose();
  }
}
