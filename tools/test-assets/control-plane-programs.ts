/** The command lines of a test's control plane, and the files that they read. Pure but for writing these files. */
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

export const extras = ["kube-controller-manager", "kube-scheduler", "kwok"] as const;
export type Extra = (typeof extras)[number];
export type Program = "etcd" | "kube-apiserver" | Extra;

export const etcdPeerPort = 2380;
/** The port that tells whether a program has started. */
export const ports: Record<Program, number> = {
  etcd: 2379,
  "kube-apiserver": 6443,
  "kube-controller-manager": 10257,
  "kube-scheduler": 10259,
  kwok: 10247,
};
const issuer = "https://kubernetes.default.svc.cluster.local";

export interface Settings {
  /** An existing folder of mode 0700. */
  folder: string;
  address: string;
  podSecurity?: string;
  fsync?: boolean;
}

/** Writes `text` into `folder`, readable by its owner only, and gives the path. */
export function secretFile(folder: string, name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}

/** Writes a kubeconfig for a token and gives its path. */
export function writeKubeconfig({ folder, address }: Settings, name: string, token: string): string {
  const cluster = {
    server: `https://${address}:${ports["kube-apiserver"]}`,
    "certificate-authority": join(folder, "apiserver.crt"),
  };
  const content = {
    apiVersion: "v1",
    kind: "Config",
    "current-context": "test",
    clusters: [{ name: "test", cluster }],
    users: [{ name, user: { token } }],
    contexts: [{ name: "test", context: { cluster: "test", user: name } }],
  };
  return secretFile(folder, `${name}.kubeconfig`, JSON.stringify(content));
}

/** Makes a token for each static user and the file in which the API server finds them. */
export function writeTokens(folder: string): { file: string; token(name: string): string } {
  const users = { admin: "system:masters", "system:kube-controller-manager": "", "system:kube-scheduler": "" };
  const tokens = new Map(Object.keys(users).map((name) => [name, randomBytes(24).toString("hex")]));
  const token = (name: string): string => tokens.get(name) ?? "";
  const lines = Object.entries(users).map(([name, group]) => `${token(name)},${name},${name}${group && `,${group}`}`);
  return { file: secretFile(folder, "tokens.csv", `${lines.join("\n")}\n`), token };
}

function writeAdmission(folder: string, enforced: string): string {
  const configuration = {
    apiVersion: "pod-security.admission.config.k8s.io/v1",
    kind: "PodSecurityConfiguration",
    defaults: { enforce: enforced, "enforce-version": "latest" },
    exemptions: { namespaces: ["kube-system"] },
  };
  const content = {
    apiVersion: "apiserver.config.k8s.io/v1",
    kind: "AdmissionConfiguration",
    plugins: [{ name: "PodSecurity", configuration }],
  };
  return secretFile(folder, "admission.json", JSON.stringify(content));
}

function writeServiceAccountKeys(folder: string): { privateKey: string; publicKey: string } {
  const pair = generateKeyPairSync("rsa", {
    modulusLength: 2048,
    publicKeyEncoding: { type: "spki", format: "pem" },
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
  });
  return {
    privateKey: secretFile(folder, "service-accounts.key", pair.privateKey),
    publicKey: secretFile(folder, "service-accounts.pub", pair.publicKey),
  };
}

function etcdArguments({ folder, address, fsync }: Settings): string[] {
  const clients = `http://${address}:${ports.etcd}`;
  const peers = `http://${address}:${etcdPeerPort}`;
  return [
    `--data-dir=${join(folder, "etcd")}`,
    `--listen-client-urls=${clients}`,
    `--advertise-client-urls=${clients}`,
    `--listen-peer-urls=${peers}`,
    `--initial-advertise-peer-urls=${peers}`,
    `--initial-cluster=default=${peers}`,
    "--log-level=warn",
    ...(fsync === false ? ["--unsafe-no-fsync"] : []),
  ];
}

/** The arguments of each program. Writes what they refer to into the folder. */
export function programArguments(settings: Settings): { commands: Record<Program, string[]>; adminToken: string } {
  const { folder, address, podSecurity } = settings;
  const { file: tokenFile, token } = writeTokens(folder);
  const { privateKey, publicKey } = writeServiceAccountKeys(folder);
  const kubeconfig = (name: string) => writeKubeconfig(settings, name, token(`system:${name}`));
  const adminToken = token("admin");
  const commands: Record<Program, string[]> = {
    etcd: etcdArguments(settings),
    "kube-apiserver": [
      `--etcd-servers=http://${address}:${ports.etcd}`,
      `--bind-address=${address}`,
      `--advertise-address=${address}`,
      `--secure-port=${ports["kube-apiserver"]}`,
      `--cert-dir=${folder}`,
      "--authorization-mode=RBAC",
      `--token-auth-file=${tokenFile}`,
      `--service-account-issuer=${issuer}`,
      `--service-account-key-file=${publicKey}`,
      `--service-account-signing-key-file=${privateKey}`,
      "--service-cluster-ip-range=10.96.0.0/16",
      "--endpoint-reconciler-type=none",
      ...(podSecurity ? [`--admission-control-config-file=${writeAdmission(folder, podSecurity)}`] : []),
    ],
    "kube-controller-manager": [
      `--kubeconfig=${kubeconfig("kube-controller-manager")}`,
      `--bind-address=${address}`,
      `--secure-port=${ports["kube-controller-manager"]}`,
      `--cert-dir=${join(folder, "controller-manager")}`,
      "--leader-elect=false",
      "--use-service-account-credentials",
      `--service-account-private-key-file=${privateKey}`,
      `--root-ca-file=${join(folder, "apiserver.crt")}`,
    ],
    "kube-scheduler": [
      `--kubeconfig=${kubeconfig("kube-scheduler")}`,
      `--bind-address=${address}`,
      `--secure-port=${ports["kube-scheduler"]}`,
      `--cert-dir=${join(folder, "scheduler")}`,
      "--leader-elect=false",
    ],
    kwok: [
      `--kubeconfig=${writeKubeconfig(settings, "admin", adminToken)}`,
      `--config=${join(__dirname, "kwok-stages.yaml")}`,
      "--manage-all-nodes",
      "--node-lease-duration-seconds=40",
      `--server-address=${address}:${ports.kwok}`,
    ],
  };
  return { commands, adminToken };
}
