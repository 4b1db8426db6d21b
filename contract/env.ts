/**
 * The environment of our containers: identity and paths only. Everything else is in the JSON file (baker-file.ts).
 * `required: false` may be empty. Paths are absolute.
 */
export const env = {
  TOG_POD_NAME: { required: true, path: false, text: "pod name, ends in the ordinal" },
  TOG_POD_UID: { required: true, path: false, text: "pod uid" },
  TOG_POD_ADDRESS: { required: true, path: false, text: "address of the pod, where health ports listen" },
  TOG_LOCAL_ADDRESS: { required: true, path: false, text: "loopback address of the pod, 127.0.0.1 in a cluster" },
  TOG_NAMESPACE: { required: true, path: false, text: "namespace of the pod" },
  TOG_ZONE: {
    required: false,
    path: false,
    text: "zone of the pod, empty where the cluster does not label pods with it",
  },
  TOG_KUBE_URL: { required: true, path: false, text: "URL of the Kubernetes API" },
  TOG_KUBE_DIR: { required: true, path: true, text: "folder of token, ca.crt and namespace" },
  TOG_NODE_DIR: { required: true, path: true, text: "folder of octez-node's data" },
  TOG_CLIENT_DIR: {
    required: true,
    path: true,
    text: "Octez client folder: keys, nonces, high watermarks, wallet_lock",
  },
  TOG_STATE_DIR: { required: true, path: true, text: "folder of our own durable state, on the node's disk" },
  TOG_SECRETS_DIR: { required: true, path: true, text: "folder of mounted secrets (nonce-secret)" },
  TOG_CONFIG_FILE: { required: true, path: true, text: "the JSON file of the baker" },
} as const;
export type EnvName = keyof typeof env;
export type PodEnv = Record<EnvName, string>;

/** Mount paths in a pod: one volume each. The laboratory maps them to folders of the machine. */
export const mounts = {
  /** The node's disk. Its root holds lost+found: only sub-folders are used. */
  data: "/var/tezos",
  nodeDir: "/var/tezos/node",
  clientDir: "/var/tezos/client",
  stateDir: "/var/tezos/state",
  dalDir: "/var/tezos/state/dal",
  snapshotDir: "/var/tezos/state/snapshot",
  kubeDir: "/var/run/tezos-on-gke/kube",
  configDir: "/etc/tezos-on-gke/config",
  configFile: "/etc/tezos-on-gke/config/baker.json",
  secretsDir: "/etc/tezos-on-gke/secrets",
  tmp: "/tmp",
} as const;
/** File names inside TOG_SECRETS_DIR. */
export const secretFiles = {
  /** Shared secret of the members of one baker for the nonce exchange; 32 random bytes in hex. */
  nonceSecret: "nonce-secret",
} as const;
