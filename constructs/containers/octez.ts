/** The Octez containers of a baking pod: node, DAL node, accuser, and the init containers that prepare their disk. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { NetworkName } from "../../contract/networks";
import { networks } from "../../contract/networks";
import { ports } from "../../contract/ports";
import { container, httpProbe, type PodContainer, resources } from "./container";

const local = "$(TOG_LOCAL_ADDRESS)";
const pod = "$(TOG_POD_ADDRESS)";
export const nodeUrl = `http://${local}:${ports.octezRpc}`;
export const dalUrl = `http://${local}:${ports.dalRpc}`;

/**
 * The scripts of the pods by file name; they lie beside the JSON file, so that a changed one is used at the next start
 * and restarts nothing.
 */
export const podScripts = (): Record<string, string> =>
  Object.fromEntries(
    ["configure-node", "import-snapshot", "import-keys", "octez-node", "octez-dal-node"].map((name) => [
      `${name}.sh`,
      readFileSync(join(__dirname, "scripts", `${name}.sh`), "utf8"),
    ]),
  );
/** A script as a command; its arguments follow as `args`. The volume `config` must be mounted. */
const script = (name: string): string[] => ["sh", "-euc", `. "$(dirname "$TOG_CONFIG_FILE")/${name}.sh"`, name];

export interface ConfigureNodeProps {
  readonly image: string;
  readonly network: NetworkName;
  readonly historyMode: string;
  /** HOST:PORT of sentries; with any, the node talks to these only. */
  readonly privatePeers: readonly string[];
}
export const configureNode = (props: ConfigureNodeProps): PodContainer =>
  container({
    row: "configureNode",
    image: props.image,
    command: script("configure-node"),
    args: [
      ...["--network", props.network, "--history-mode", props.historyMode],
      ...["--rpc-addr", `${local}:${ports.octezRpc}`],
      ...(props.privatePeers.length > 0 ? ["--private-mode", "--no-bootstrap-peers"] : []),
      ...props.privatePeers.flatMap((peer) => ["--peer", peer]),
    ],
    volumes: ["node", "config"],
    resources: resources({ cpu: "100m", memory: "128Mi" }, { cpu: "1", memory: "512Mi" }),
  });

export interface ImportSnapshotProps {
  readonly image: string;
  readonly network: NetworkName;
  readonly historyMode: string;
  /** @default the network's newest one of the history mode; none for an archive */
  readonly url?: string;
  /** @default the hash that the publisher shows beside the snapshot */
  readonly blockHash?: string;
}
const newestSnapshot = (network: NetworkName, historyMode: string): string => {
  const mode = historyMode.split(":")[0] ?? "";
  return mode === "archive" ? "" : `${networks[network].snapshots}/${mode}`;
};
export const importSnapshot = (props: ImportSnapshotProps): PodContainer =>
  container({
    row: "importSnapshot",
    image: props.image,
    command: script("import-snapshot"),
    args: [props.url ?? newestSnapshot(props.network, props.historyMode), props.blockHash ?? ""],
    volumes: ["node", "snapshot", "config"],
    resources: resources({ cpu: "500m", memory: "4Gi" }, { cpu: "4", memory: "12Gi" }),
  });

export interface OctezNodeProps {
  readonly image: string;
  /** Outlives SIGTERM until the pod has handed over. */
  readonly waitForHandover: boolean;
}
/** For a start that may take an hour, and is seen within two seconds when it does not. */
const anHour = { periodSeconds: 2, failureThreshold: 1800 };

/** Carries the node's part of the pod's readiness: the sidecar's /ready. */
export const octezNode = (props: OctezNodeProps): PodContainer =>
  container({
    row: "octezNode",
    image: props.image,
    command: script("octez-node"),
    // The pod's address, anew at each start: a new sandbox brings another one, and not every init container runs again.
    args: [
      ...["run", "--data-dir", "$(TOG_NODE_DIR)", "--net-addr", `${pod}:${ports.octezP2p}`],
      ...["--metrics-addr", `${pod}:${ports.octezMetrics}`],
    ],
    volumes: ["node", "config"],
    resources: resources({ cpu: "500m", memory: "6Gi" }, { cpu: "4", memory: "12Gi" }),
    // A node that opens its store or upgrades it has no connection yet.
    startup: httpProbe(ports.sidecar, "/live", { ...anHour, timeoutSeconds: 3 }),
    liveness: httpProbe(ports.sidecar, "/live", { periodSeconds: 15, failureThreshold: 10, timeoutSeconds: 3 }),
    readiness: httpProbe(ports.sidecar, "/ready", { periodSeconds: 5, failureThreshold: 2, timeoutSeconds: 3 }),
    waitForHandover: props.waitForHandover,
  });

export interface DalNodeProps {
  readonly image: string;
  /** Whose attestation rights decide what it follows. */
  readonly attester: string;
  /** Pod name -> HOST:PORT at which others reach its P2P port; may be tokens. */
  readonly publicAddresses: Readonly<Record<string, string>>;
}
export function dalNode(props: DalNodeProps): PodContainer {
  const args = [
    ...["run", "--data-dir", "$(TOG_STATE_DIR)/dal", "--endpoint", nodeUrl, `--attester-profiles=${props.attester}`],
    ...[
      "--rpc-addr",
      `${local}:${ports.dalRpc}`,
      "--net-addr",
      `${pod}:${ports.dalP2p}`,
      "--metrics-addr",
      `${pod}:${ports.dalMetrics}`,
    ],
  ];
  const addresses = Object.entries(props.publicAddresses).map(([name, address]) => `${name}=${address}`);
  return container({
    row: "dalNode",
    image: props.image,
    // A pod template is the same for every pod: the script picks this pod's address.
    ...(addresses.length > 0
      ? { command: script("octez-dal-node"), args: [addresses.join(" "), ...args] }
      : { command: ["octez-dal-node"], args }),
    volumes: ["dal", "config"],
    resources: resources({ cpu: "250m", memory: "2Gi" }, { cpu: "2", memory: "6Gi" }),
    // A DAL node that hangs stalls the baker.
    liveness: httpProbe(ports.dalMetrics, "/metrics", { periodSeconds: 10, failureThreshold: 6, timeoutSeconds: 5 }),
    startup: httpProbe(ports.dalMetrics, "/metrics", { ...anHour, timeoutSeconds: 5 }),
  });
}

/** It waits for its node: octez-accuser alone ends where the node is away, and the kubelet's back-off follows. */
export const accuser = (props: { readonly image: string }): PodContainer =>
  container({
    row: "accuser",
    image: props.image,
    command: ["octez-accuser"],
    args: ["-E", nodeUrl, "run", "--keep-alive"],
    volumes: [],
    resources: resources({ cpu: "100m", memory: "512Mi" }, { cpu: "1", memory: "2Gi" }),
  });

export interface ClientKey {
  readonly address: string;
  readonly alias: string;
}
export interface ImportKeysProps {
  readonly image: string;
  readonly keys: readonly ClientKey[];
  /** Address of the key that authenticates the baker to its signers; the key is in the volume `authentication`. */
  readonly authenticationKey?: string;
}
/** Name of the authentication key's file in the mounted secret. */
export const authenticationKeyFile = "authentication-key";
/** Keys are `remote:` ones: the baker's `-R` says where the signer is, and the baker asks it for the public keys. */
export const importKeys = (props: ImportKeysProps): PodContainer => {
  const remote = props.keys.map(({ alias, address }) => ({ name: alias, value: `remote:${address}` }));
  const hashes = props.keys.map(({ alias, address }) => ({ name: alias, value: address }));
  const own = props.authenticationKey === undefined ? [] : [{ name: "authentication", value: props.authenticationKey }];
  return container({
    row: "importKeys",
    image: props.image,
    command: script("import-keys"),
    args: [
      JSON.stringify([...hashes, ...own]),
      JSON.stringify(remote),
      JSON.stringify(remote),
      own.length > 0 ? authenticationKeyFile : "",
    ],
    volumes: ["client", "config", ...(own.length > 0 ? ["authentication" as const] : [])],
    resources: resources({ cpu: "100m", memory: "64Mi" }, { cpu: "1", memory: "256Mi" }),
  });
};
