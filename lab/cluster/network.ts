/** The network of the cluster: links that can be cut and slowed, services, and the tunnels to the signers at home. */
import { labels } from "../../contract/names";
import { ports } from "../../contract/ports";
import { Link, type Endpoint, type LinkMode } from "./link";
import { writeSettings, type Direction, type Member } from "./member";
import type { StackObjects } from "./stack";

/** A reverse tunnel of the signer link: between the service of its zone and the signer at home. */
export interface Tunnel {
  service: string;
  signer: string;
  zone: string;
  link: Link;
}

export class Network {
  readonly tunnels: Tunnel[] = [];
  /** Signer name -> where its program listens. */
  readonly homeSigners = new Map<string, Endpoint>();

  /** @param host where the tunnels listen */
  constructor(
    private readonly host: string,
    private readonly members: ReadonlySet<Member>,
    private readonly downZones: ReadonlySet<string>,
    private readonly stack: () => StackObjects,
  ) {}

  async link(
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
  async connectPeers(member: Member): Promise<void> {
    for (const other of this.members) {
      if (other === member || other.workload.kind !== "StatefulSet" || other.workload.name !== member.workload.name)
        continue;
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
      writeSettings(other);
    }
  }

  /** Nothing leads to this pod any more, nor from it. */
  forget(gone: Member): void {
    for (const { link } of gone.links) link.close();
    for (const other of this.members) {
      const mine = other.links.filter((entry) => entry.direction === "peer" && entry.to === gone.pod.uid);
      for (const entry of mine) entry.link.close();
      other.links = other.links.filter((entry) => !mine.includes(entry));
      if (mine.length > 0) writeSettings(other);
    }
  }

  /** For the signer links of the stack that have none yet. */
  async makeTunnels(): Promise<void> {
    for (const workload of this.stack().workloads) {
      if (
        workload.template.labels[labels.component] !== "signer-link" ||
        this.tunnels.some((tunnel) => tunnel.service === workload.name)
      )
        continue;
      const signer = workload.template.labels["tezos-on-gke/signer"] ?? "";
      const zone = workload.template.labels["tezos-on-gke/zone"] ?? "";
      const link = await new Link(`tunnel ${signer} ${zone}`, () => this.homeSigners.get(signer)).listen(this.host, 0);
      this.tunnels.push({ service: workload.name, signer, zone, link });
    }
  }
  /** Where a service of the stack leads to now. */
  serviceTarget(name: string, port: number): Endpoint | undefined {
    const { services, workloads } = this.stack();
    const service = services.find((entry) => entry.name === name);
    const target = service?.ports.find((entry) => entry.port === port)?.target;
    if (!service || target === undefined) return undefined;
    const selects = (podLabels: Record<string, string>) =>
      Object.entries(service.selector).every(([key, value]) => podLabels[key] === value);
    const pod = [...this.members].find((member) => member.pod.ready && selects(member.workload.template.labels))?.pod;
    if (pod) return { host: pod.options.address, port: target };
    const tunnel = this.tunnels.find(
      (entry) =>
        !this.downZones.has(entry.zone) &&
        selects(workloads.find((workload) => workload.name === entry.service)?.template.labels ?? {}),
    );
    return tunnel?.link.address;
  }

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
  slow(member: Member, direction: Direction, ms: number): void {
    for (const entry of member.links) if (entry.direction === direction) entry.link.delayMs = ms;
  }
  /** The tunnels that end in a zone. */
  setZone(zone: string, mode: LinkMode): void {
    for (const tunnel of this.tunnels) if (tunnel.zone === zone) tunnel.link.mode = mode;
  }

  close(): void {
    for (const tunnel of this.tunnels) tunnel.link.close();
  }
}
