/**
 * A real control plane for tests: etcd and kube-apiserver (RBAC, static tokens, service-account tokens, pod-security
 * admission), on request with kube-controller-manager, kube-scheduler and kwok, on a loopback address of its own.
 *
 * Guarantees: its processes end with stop(), with this process (parent-death signal, exit handler) and with a failed
 * start; they are ended by their ids. Secrets stay in a folder of mode 0700 that stop() removes. Not: high
 * availability, kubelets, a cluster network. Needs Linux.
 *
 * node --import tsx tools/test-assets/control-plane.ts [--with kube-controller-manager,kube-scheduler,kwok]
 * [--pod-security restricted]
 */
import { spawn, type ChildProcess } from "node:child_process";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { controlPlaneFolder, defaultCache } from "../test-assets";

export const extras = ["kube-controller-manager", "kube-scheduler", "kwok"] as const;
export type Extra = (typeof extras)[number];
export type Program = "etcd" | "kube-apiserver" | Extra;

export interface ControlPlaneOptions {
  with?: readonly Extra[];
  /** The level enforced in namespaces without labels of their own. @default none, as in a new cluster */
  podSecurity?: "privileged" | "baseline" | "restricted";
  /** Overrides and additions, for instance `{ "kube-apiserver": ["--feature-gates=X=true"] }`. */
  flags?: Partial<Record<Program, readonly string[]>>;
  /** Whether etcd syncs its writes to the disk. @default true */
  fsync?: boolean;
  /** The folder of the programs. @default KUBEBUILDER_ASSETS, else where `npm run test:assets` puts them */
  assets?: string;
  readyMs?: number;
}

export interface Answer {
  status: number;
  /** Parsed JSON, or the text of an answer that is none. */
  body: unknown;
}
export interface ControlPlane {
  /** https://127.x.y.z:6443 */
  url: string;
  address: string;
  caFile: string;
  /** Bearer token of a member of system:masters. */
  adminToken: string;
  adminKubeconfig: string;
  /** PEM files of the key pair that signs service-account tokens, certificates, logs. */
  folder: string;
  /** One request with the token given, the admin's by default; never throws for a status. */
  call(
    method: string,
    path: string,
    body?: unknown,
    options?: { token?: string; contentType?: string; timeoutMs?: number },
  ): Promise<Answer>;
  /**
   * A bound token of a service account, like the one in a pod's projected volume. @throws Error where the API refuses
   */
  serviceAccountToken(namespace: string, name: string, seconds?: number): Promise<string>;
  /** A kubeconfig file for a token. */
  kubeconfig(name: string, token: string): string;
  /** SIGSTOP and SIGCONT pause and wake; after SIGKILL `start` brings the program back with its data. */
  signal(program: Program, signal: NodeJS.Signals): Promise<void>;
  start(program: Program): Promise<void>;
  pid(program: Program): number | undefined;
  /** The last lines that a program wrote. */
  log(program: Program): string;
  stop(): Promise<void>;
}

const assetsFolder = (given?: string): string =>
  given ?? process.env.KUBEBUILDER_ASSETS ?? controlPlaneFolder(defaultCache());

/** Why no control plane can be started here, or undefined. */
export function missingForControlPlane(wanted: readonly Extra[] = [], assets?: string): string | undefined {
  if (process.platform !== "linux") return `needs Linux (a loopback address of its own); this is ${process.platform}`;
  const folder = assetsFolder(assets);
  const missing = ["etcd", "kube-apiserver", ...wanted].filter((name) => !existsSync(join(folder, name)));
  return missing.length === 0
    ? undefined
    : `${folder} lacks ${missing.join(", ")}: npm run test:assets -- --only ${missing.join(",")}`;
}

/** A loopback address on which none of `ports` is taken. */
async function freeAddress(ports: readonly number[]): Promise<string> {
  for (let tries = 0; tries < 20; tries++) {
    const [a = 0, b = 0, c = 0] = randomBytes(3);
    const address = `127.${64 + (a % 128)}.${b}.${1 + (c % 254)}`;
    const free = (port: number) =>
      new Promise<boolean>((done) => {
        const server = createServer();
        server.once("error", () => done(false));
        server.listen(port, address, () => server.close(() => done(true)));
      });
    if ((await Promise.all(ports.map(free))).every(Boolean)) return address;
  }
  throw new Error(`20 random loopback addresses had one of the ports ${ports.join(", ")} taken`);
}

const sleep = (ms: number) => new Promise((done) => setTimeout(done, ms));
const setpriv = ["/usr/bin/setpriv", "/bin/setpriv"].find((path) => existsSync(path));
const ports = { api: 6443, etcd: 2379, etcdPeer: 2380, controllerManager: 10257, scheduler: 10259, kwok: 10247 };
const issuer = "https://kubernetes.default.svc.cluster.local";

export async function startControlPlane(options: ControlPlaneOptions = {}): Promise<ControlPlane> {
  const wanted = options.with ?? [];
  const missing = missingForControlPlane(wanted, options.assets);
  if (missing !== undefined) throw new Error(missing);
  const assets = assetsFolder(options.assets);
  const folder = mkdtempSync(join(tmpdir(), "tog-control-plane-"));
  const file = (name: string, text?: string | Buffer): string => {
    if (text !== undefined) writeFileSync(join(folder, name), text, { mode: 0o600 });
    return join(folder, name);
  };
  const address = await freeAddress(Object.values(ports));
  const url = `https://${address}:${ports.api}`;
  const etcdUrl = `http://${address}:${ports.etcd}`;
  const peerUrl = `http://${address}:${ports.etcdPeer}`;
  const caFile = file("apiserver.crt");

  const kubeconfig = (name: string, token: string): string =>
    file(
      `${name}.kubeconfig`,
      JSON.stringify({
        apiVersion: "v1",
        kind: "Config",
        "current-context": "test",
        clusters: [{ name: "test", cluster: { server: url, "certificate-authority": caFile } }],
        users: [{ name, user: { token } }],
        contexts: [{ name: "test", context: { cluster: "test", user: name } }],
      }),
    );
  const users = { admin: "system:masters", "system:kube-controller-manager": "", "system:kube-scheduler": "" };
  const tokens = new Map(Object.keys(users).map((name) => [name, randomBytes(24).toString("hex")]));
  const token = (name: keyof typeof users): string => tokens.get(name) ?? "";
  const adminToken = token("admin");
  const lines = Object.entries(users).map(
    ([name, group]) => `${tokens.get(name)},${name},${name}${group && `,${group}`}`,
  );
  const tokenFile = file("tokens.csv", `${lines.join("\n")}\n`);
  const adminKubeconfig = kubeconfig("admin", adminToken);
  const pair = generateKeyPairSync("rsa", {
    modulusLength: 2048,
    publicKeyEncoding: { type: "spki", format: "pem" },
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
  });
  const [privateKey, publicKey] = [
    file("service-accounts.key", pair.privateKey),
    file("service-accounts.pub", pair.publicKey),
  ];
  const level = options.podSecurity;
  const admission = (enforced: string): string =>
    file(
      "admission.json",
      JSON.stringify({
        apiVersion: "apiserver.config.k8s.io/v1",
        kind: "AdmissionConfiguration",
        plugins: [
          {
            name: "PodSecurity",
            configuration: {
              apiVersion: "pod-security.admission.config.k8s.io/v1",
              kind: "PodSecurityConfiguration",
              defaults: { enforce: enforced, "enforce-version": "latest" },
              exemptions: { namespaces: ["kube-system"] },
            },
          },
        ],
      }),
    );

  const commands: Record<Program, string[]> = {
    etcd: [
      `--data-dir=${file("etcd")}`,
      `--listen-client-urls=${etcdUrl}`,
      `--advertise-client-urls=${etcdUrl}`,
      `--listen-peer-urls=${peerUrl}`,
      `--initial-advertise-peer-urls=${peerUrl}`,
      `--initial-cluster=default=${peerUrl}`,
      "--log-level=warn",
      ...(options.fsync === false ? ["--unsafe-no-fsync"] : []),
    ],
    "kube-apiserver": [
      `--etcd-servers=${etcdUrl}`,
      `--bind-address=${address}`,
      `--advertise-address=${address}`,
      `--secure-port=${ports.api}`,
      `--cert-dir=${folder}`,
      "--authorization-mode=RBAC",
      `--token-auth-file=${tokenFile}`,
      `--service-account-issuer=${issuer}`,
      `--service-account-key-file=${publicKey}`,
      `--service-account-signing-key-file=${privateKey}`,
      "--service-cluster-ip-range=10.96.0.0/16",
      "--endpoint-reconciler-type=none",
      ...(level === undefined ? [] : [`--admission-control-config-file=${admission(level)}`]),
    ],
    "kube-controller-manager": [
      `--kubeconfig=${kubeconfig("kube-controller-manager", token("system:kube-controller-manager"))}`,
      `--bind-address=${address}`,
      `--secure-port=${ports.controllerManager}`,
      `--cert-dir=${file("controller-manager")}`,
      "--leader-elect=false",
      "--use-service-account-credentials",
      `--service-account-private-key-file=${privateKey}`,
      `--root-ca-file=${caFile}`,
    ],
    "kube-scheduler": [
      `--kubeconfig=${kubeconfig("kube-scheduler", token("system:kube-scheduler"))}`,
      `--bind-address=${address}`,
      `--secure-port=${ports.scheduler}`,
      `--cert-dir=${file("scheduler")}`,
      "--leader-elect=false",
    ],
    kwok: [
      `--kubeconfig=${adminKubeconfig}`,
      `--config=${join(__dirname, "kwok-stages.yaml")}`,
      "--manage-all-nodes",
      "--node-lease-duration-seconds=40",
      `--server-address=${address}:${ports.kwok}`,
    ],
  };

  const listensOn: Record<Program, number> = {
    etcd: ports.etcd,
    "kube-apiserver": ports.api,
    "kube-controller-manager": ports.controllerManager,
    "kube-scheduler": ports.scheduler,
    kwok: ports.kwok,
  };
  const listens = (port: number): Promise<boolean> =>
    new Promise((done) => {
      const socket = connect({ host: address, port, timeout: 1000 }, () => (socket.destroy(), done(true)));
      socket.once("error", () => done(false));
      socket.once("timeout", () => (socket.destroy(), done(false)));
    });

  const running = new Map<Program, ChildProcess>();
  const logs = new Map<Program, string>();
  const alive = (child: ChildProcess): boolean =>
    child.pid !== undefined && child.exitCode === null && child.signalCode === null;
  const living = (program: Program): ChildProcess | undefined => {
    const child = running.get(program);
    return child && alive(child) ? child : undefined;
  };
  const launch = (program: Program): void => {
    if (living(program)) return;
    const command = [join(assets, program), ...commands[program], ...(options.flags?.[program] ?? [])];
    const words = setpriv === undefined ? command : [setpriv, "--pdeathsig", "KILL", "--", ...command];
    const child = spawn(words[0] ?? "", words.slice(1), { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
    const keep = (data: Buffer) => logs.set(program, ((logs.get(program) ?? "") + data.toString()).slice(-8000));
    child.stdout.on("data", keep);
    child.stderr.on("data", keep);
    child.once("error", (error) => keep(Buffer.from(error.message)));
    running.set(program, child);
  };
  const killAll = () => {
    for (const child of running.values()) if (alive(child)) child.kill("SIGKILL");
  };
  process.once("exit", killAll);
  const gone = (child: ChildProcess, ms: number): Promise<boolean> =>
    new Promise((done) => {
      if (!alive(child)) return done(true);
      const timer = setTimeout(() => done(false), ms);
      child.once("exit", () => (clearTimeout(timer), done(true)));
    });
  const end = async (program: Program): Promise<void> => {
    const child = living(program);
    if (!child) return;
    child.kill("SIGCONT");
    child.kill("SIGTERM");
    if (await gone(child, 3000)) return;
    child.kill("SIGKILL");
    await gone(child, 5000);
  };
  const stop = async (): Promise<void> => {
    await Promise.all(extras.map(end));
    // Without a quiet period: nobody is served any more.
    const apiserver = living("kube-apiserver");
    apiserver?.kill("SIGKILL");
    if (apiserver) await gone(apiserver, 5000);
    await end("etcd");
    process.removeListener("exit", killAll);
    rmSync(folder, { recursive: true, force: true });
  };

  const call: ControlPlane["call"] = (
    method,
    path,
    body,
    { token: bearer = adminToken, contentType = "application/json", timeoutMs = 10_000 } = {},
  ) =>
    new Promise((done, fail) => {
      const text = body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body);
      const headers = {
        ...(bearer === "" ? {} : { authorization: `Bearer ${bearer}` }),
        ...(text === undefined ? {} : { "content-type": contentType, "content-length": Buffer.byteLength(text) }),
      };
      const ca = readFileSync(caFile);
      const signal = AbortSignal.timeout(timeoutMs);
      const sent = request(`${url}${path}`, { method, headers, ca, agent: false, signal }, (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", fail);
        response.on("end", () => {
          const answer = Buffer.concat(chunks).toString();
          let parsed: unknown = answer;
          try {
            parsed = JSON.parse(answer);
          } catch {
            // Not every answer is JSON: /readyz says "ok".
          }
          done({ status: response.statusCode ?? 0, body: parsed });
        });
      });
      sent.on("error", fail);
      sent.end(text);
    });

  const ready = async (program: Program): Promise<void> => {
    const deadline = performance.now() + (options.readyMs ?? 120_000);
    let last = "";
    while (performance.now() < deadline) {
      for (const [name, child] of running)
        if (!alive(child))
          throw new Error(
            `${name} ended with ${child.signalCode ?? child.exitCode ?? "no start"}:\n${logs.get(name) ?? ""}`,
          );
      if (program !== "kube-apiserver" && (await listens(listensOn[program]))) return;
      try {
        if (program !== "kube-apiserver") throw new Error(`port ${listensOn[program]} is shut`);
        const { status, body } = await call("GET", "/readyz", undefined, { timeoutMs: 2000 });
        if (status === 200) return;
        last = `${status} ${String(body).slice(-300)}`;
      } catch (error) {
        last = String(error);
      }
      await sleep(100);
    }
    throw new Error(
      `${program} is not ready within ${options.readyMs ?? 120_000} ms: ${last}\n${logs.get(program) ?? ""}`,
    );
  };
  const start = async (program: Program): Promise<void> => {
    launch(program);
    await ready(program);
  };

  try {
    launch("etcd");
    await start("kube-apiserver");
    for (const program of wanted) await start(program);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    url,
    address,
    caFile,
    adminToken,
    adminKubeconfig,
    folder,
    call,
    kubeconfig,
    start,
    stop,
    pid: (program) => running.get(program)?.pid,
    log: (program) => logs.get(program) ?? "",
    async serviceAccountToken(namespace, name, seconds = 3600) {
      const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${name}/token`;
      const spec = { expirationSeconds: seconds };
      const { status, body } = await call("POST", path, {
        apiVersion: "authentication.k8s.io/v1",
        kind: "TokenRequest",
        spec,
      });
      const answer = body as { status?: { token?: string }; message?: string };
      if (status !== 201 || !answer.status?.token)
        throw new Error(`no token of ${namespace}/${name}: ${status} ${answer.message ?? ""}`);
      return answer.status.token;
    },
    async signal(program, signal) {
      const child = living(program);
      if (!child) throw new Error(`${program} does not run`);
      child.kill(signal);
      if (signal === "SIGKILL" && !(await gone(child, 5000))) throw new Error(`${program} lives on after SIGKILL`);
    },
  };
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { with: { type: "string" }, "pod-security": { type: "string" } } });
  const names = (values.with ?? "").split(",").filter((name) => name !== "");
  const unknown = names.filter((name) => !extras.some((extra) => extra === name));
  if (unknown.length > 0) throw new Error(`--with takes names of ${extras.join(", ")}; got ${unknown.join(", ")}`);
  const podSecurity = (["privileged", "baseline", "restricted"] as const).find(
    (level) => level === (values["pod-security"] ?? "privileged"),
  );
  if (!podSecurity)
    throw new Error(`--pod-security takes privileged, baseline or restricted; got ${values["pod-security"]}`);
  const plane = await startControlPlane({ with: extras.filter((extra) => names.includes(extra)), podSecurity });
  console.log(JSON.stringify({ url: plane.url, caFile: plane.caFile, adminKubeconfig: plane.adminKubeconfig }));
  console.log(`export KUBECONFIG=${plane.adminKubeconfig}`);
  await new Promise((done) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, done);
  });
  await plane.stop();
}

if (require.main === module)
  main().catch((error: unknown) => {
    console.error(error instanceof Error ? error.message : String(error));
    process.exit(1);
  });
