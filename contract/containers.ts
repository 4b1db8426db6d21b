/**
 * The one table of containers: name, image, daemon, when they run, on which ports they listen and who may call them.
 * From it come the pods' containers and their declared ports, the network policies of the baking pods and
 * docs/containers.md. A daemon listens where this table says, and nowhere else.
 */

export interface Listener {
  readonly port: number;
  /** Name of the port in the pod, at most 15 characters. Absent: on the pod's loopback address only. */
  readonly name?: string;
  readonly calledBy: string;
  readonly purpose: string;
  /**
   * Whom a network policy lets in from outside of the pod: the monitoring namespaces, the other baking pods of the
   * baker (and the monitoring namespaces), any baking pod of the baker, everybody. Absent: nobody but the node's
   * kubelet, which no policy stops.
   */
  readonly openTo?: "monitoring" | "members" | "baking-pods" | "everybody";
}

export interface ContainerRow {
  readonly name: string;
  /** Which of the images. */
  readonly image: "octez" | "baker" | "runtime" | "signerLink" | "signatory";
  /** First argument of our program, where the container runs it. */
  readonly daemon?: string;
  /** In the baking pod: before the others, in both topologies, in one, or where the configuration asks for it. */
  readonly runs: "init" | "always" | "active-standby" | "dal" | "accuser" | SignerPod;
  readonly listens: Readonly<Record<string, Listener>>;
}
/** The pods of a signer have one topology. */
type SignerPod = "signer-link" | "hot-signer" | "cloud-signer";

const healthOf = "status, metrics";

/** The containers of a baking pod, in the pod's order. */
export const bakingContainers = {
  topologyGuard: { name: "topology-guard", image: "runtime", daemon: "topology-guard", runs: "init", listens: {} },
  configureNode: { name: "configure-node", image: "octez", runs: "init", listens: {} },
  importSnapshot: { name: "import-snapshot", image: "octez", runs: "init", listens: {} },
  importKeys: { name: "import-keys", image: "octez", runs: "init", listens: {} },
  octezNode: {
    name: "octez-node",
    image: "octez",
    runs: "always",
    listens: {
      octezRpc: { port: 8732, calledBy: "sidecar, elector, octez-baker", purpose: "RPC" },
      octezP2p: { port: 9732, name: "p2p", calledBy: "peers", purpose: "P2P", openTo: "everybody" },
      octezMetrics: {
        port: 9932,
        name: "node-metrics",
        calledBy: "Prometheus",
        purpose: "metrics",
        openTo: "monitoring",
      },
    },
  },
  sidecar: {
    name: "sidecar",
    image: "runtime",
    daemon: "sidecar",
    runs: "always",
    listens: {
      sidecar: {
        port: 31764,
        name: "sidecar",
        calledBy: "elector, supervisor; kubelet; Prometheus",
        purpose: "health of the node, metrics",
        openTo: "monitoring",
      },
    },
  },
  elector: {
    name: "elector",
    image: "runtime",
    daemon: "elector",
    runs: "active-standby",
    listens: {
      elector: {
        port: 4040,
        name: "elector",
        calledBy: "supervisor, gate, sidecar, exposer, importer of the pod; Prometheus",
        purpose: "leadership, member records, metrics: reading only",
        openTo: "monitoring",
      },
      preStop: {
        port: 4044,
        name: "pre-stop",
        calledBy: "kubelet (preStop)",
        purpose: "starting a handover and waiting for its end",
      },
    },
  },
  baker: {
    name: "baker",
    image: "baker",
    daemon: "baker-supervisor",
    runs: "always",
    listens: {
      supervisor: {
        port: 4041,
        name: "supervisor",
        calledBy: "elector; Prometheus",
        purpose: healthOf,
        openTo: "monitoring",
      },
    },
  },
  signingGate: {
    name: "signing-gate",
    image: "runtime",
    daemon: "signing-gate",
    runs: "active-standby",
    listens: {
      gate: { port: 6732, calledBy: "octez-baker", purpose: "signatures (remote-signer protocol)" },
      gateHealth: {
        port: 4042,
        name: "gate-health",
        calledBy: "elector, supervisor, sidecar; Prometheus",
        purpose: healthOf,
        openTo: "monitoring",
      },
    },
  },
  nonceExposer: {
    name: "nonce-exposer",
    image: "runtime",
    daemon: "nonce-exposer",
    runs: "active-standby",
    listens: {
      nonceExposer: {
        port: 4247,
        name: "nonces",
        calledBy: "importers of the other pods; elector; Prometheus",
        purpose: "nonces over TLS with a shared secret; status, metrics",
        openTo: "members",
      },
    },
  },
  nonceImporter: {
    name: "nonce-importer",
    image: "runtime",
    daemon: "nonce-importer",
    runs: "active-standby",
    listens: {
      nonceImporter: {
        port: 4043,
        name: "nonce-import",
        calledBy: "elector; Prometheus",
        purpose: healthOf,
        openTo: "monitoring",
      },
    },
  },
  dalNode: {
    name: "octez-dal-node",
    image: "octez",
    runs: "dal",
    listens: {
      dalRpc: { port: 10732, calledBy: "sidecar, octez-baker", purpose: "RPC" },
      dalP2p: { port: 11732, name: "dal-p2p", calledBy: "peers", purpose: "the DAL's P2P", openTo: "everybody" },
      dalMetrics: {
        port: 11733,
        name: "dal-metrics",
        calledBy: "Prometheus",
        purpose: "metrics",
        openTo: "monitoring",
      },
    },
  },
  accuser: { name: "octez-accuser", image: "octez", runs: "accuser", listens: {} },
} as const satisfies Readonly<Record<string, ContainerRow>>;

const signing = {
  port: 6732,
  name: "signer",
  calledBy: "the gate; without the flag octez-baker",
  purpose: "signatures (remote-signer protocol)",
  openTo: "baking-pods",
} as const;

/** The containers of the pods behind a baker's signer services. */
export const signerContainers = {
  sshd: {
    name: "sshd",
    image: "signerLink",
    runs: "signer-link",
    listens: {
      sshd: {
        port: 2222,
        name: "ssh",
        calledBy: "signer hosts, through the load balancer",
        purpose: "reverse tunnels; the load balancer admits its source ranges",
        openTo: "everybody",
      },
      signer: signing,
    },
  },
  hotKeys: { name: "hot-keys", image: "runtime", daemon: "hot-keys", runs: "hot-signer", listens: {} },
  hotSigner: { name: "signer", image: "octez", runs: "hot-signer", listens: { signer: signing } },
  signatory: {
    name: "signatory",
    image: "signatory",
    runs: "cloud-signer",
    listens: { signer: signing, health: { port: 8080, name: "health", calledBy: "kubelet", purpose: "health" } },
  },
} as const satisfies Readonly<Record<string, ContainerRow>>;

type BakingContainers = typeof bakingContainers;
export type BakingContainer = keyof BakingContainers;
export type PortName = { [C in BakingContainer]: keyof BakingContainers[C]["listens"] & string }[BakingContainer];

const mapValues = <K extends string, V, R>(record: Readonly<Record<K, V>>, of: (value: V) => R): Record<K, R> =>
  Object.fromEntries(Object.entries<V>(record).map(([key, value]) => [key, of(value)])) as Record<K, R>;

/** Names of the containers of a baking pod. */
export const containers = mapValues<BakingContainer, ContainerRow, string>(bakingContainers, ({ name }) => name);

const listeners = Object.assign({}, ...Object.values(bakingContainers).map(({ listens }) => listens)) as Record<
  PortName,
  Listener
>;
/** Every port of a baking pod by its name. */
export const ports = mapValues(listeners, ({ port }) => port);

/** The pods' ports that a policy opens to this one; nonces are metrics, too. */
export const openPorts = (rows: readonly ContainerRow[], to: NonNullable<Listener["openTo"]>): number[] =>
  rows.flatMap(({ listens }) =>
    Object.values(listens)
      .filter(({ openTo }) => openTo === to || (to === "monitoring" && openTo === "members"))
      .map(({ port }) => port),
  );
