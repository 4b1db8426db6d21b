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
import { randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { request } from "node:https";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { controlPlaneFolder, defaultCache } from "../test-assets";
import { ChildProcesses } from "./child-processes";
import {
  etcdPeerPort,
  extras,
  ports,
  programArguments,
  writeKubeconfig,
  type Extra,
  type Program,
  type Settings,
} from "./control-plane-programs";

export { extras, type Extra, type Program } from "./control-plane-programs";

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
  /** An address of this machine at which others reach it. @default a free loopback address */
  address?: string;
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

const listens = (address: string, port: number): Promise<boolean> =>
  new Promise((done) => {
    const socket = connect({ host: address, port, timeout: 1000 }, () => (socket.destroy(), done(true)));
    socket.once("error", () => done(false));
    socket.once("timeout", () => (socket.destroy(), done(false)));
  });

/** JSON where it is JSON; not every answer is: /readyz says "ok". */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** How a control plane at `url` is called. */
const caller =
  (url: string, caFile: string, adminToken: string): ControlPlane["call"] =>
  (method, path, body, { token = adminToken, contentType = "application/json", timeoutMs = 10_000 } = {}) =>
    new Promise((done, fail) => {
      const text = body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body);
      const headers = {
        ...(token === "" ? {} : { authorization: `Bearer ${token}` }),
        ...(text === undefined ? {} : { "content-type": contentType, "content-length": Buffer.byteLength(text) }),
      };
      const ca = readFileSync(caFile);
      const signal = AbortSignal.timeout(timeoutMs);
      const sent = request(`${url}${path}`, { method, headers, ca, agent: false, signal }, (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", fail);
        response.on("end", () =>
          done({ status: response.statusCode ?? 0, body: parsed(Buffer.concat(chunks).toString()) }),
        );
      });
      sent.on("error", fail);
      sent.end(text);
    });

/** Waits until a program answers. @throws Error if it does not in time, or if any of the processes ends. */
async function untilReady(
  program: Program,
  processes: ChildProcesses,
  answers: (program: Program) => Promise<string | undefined>,
  withinMs: number,
): Promise<void> {
  const deadline = performance.now() + withinMs;
  let reason: string | undefined = "not asked yet";
  while (performance.now() < deadline) {
    processes.assertAllLive();
    reason = await answers(program);
    if (reason === undefined) return;
    await sleep(100);
  }
  throw new Error(`${program} is not ready within ${withinMs} ms: ${reason}\n${processes.log(program)}`);
}

async function requestToken(call: ControlPlane["call"], namespace: string, name: string, seconds: number) {
  const body = {
    apiVersion: "authentication.k8s.io/v1",
    kind: "TokenRequest",
    spec: { expirationSeconds: seconds },
  };
  const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${name}/token`;
  const { status, body: answer } = await call("POST", path, body);
  const { status: given, message } = answer as { status?: { token?: string }; message?: string };
  if (status !== 201 || !given?.token) throw new Error(`no token of ${namespace}/${name}: ${status} ${message ?? ""}`);
  return given.token;
}

export async function startControlPlane(options: ControlPlaneOptions = {}): Promise<ControlPlane> {
  const wanted = options.with ?? [];
  const missing = missingForControlPlane(wanted, options.assets);
  if (missing !== undefined) throw new Error(missing);
  const assets = assetsFolder(options.assets);
  const folder = mkdtempSync(join(tmpdir(), "tog-control-plane-"));
  const address = options.address ?? (await freeAddress([...Object.values(ports), etcdPeerPort]));
  const settings: Settings = { folder, address, podSecurity: options.podSecurity, fsync: options.fsync };
  const url = `https://${address}:${ports["kube-apiserver"]}`;
  const caFile = join(folder, "apiserver.crt");
  const { commands, adminToken } = programArguments(settings);
  const processes = new ChildProcesses(folder);
  const call = caller(url, caFile, adminToken);

  /** Why the program does not answer yet. */
  const answers = async (program: Program): Promise<string | undefined> => {
    if (program !== "kube-apiserver")
      return (await listens(address, ports[program])) ? undefined : `port ${ports[program]} is shut`;
    return call("GET", "/readyz", undefined, { timeoutMs: 2000 }).then(
      ({ status, body }) => (status === 200 ? undefined : `${status} ${String(body).slice(-300)}`),
      String,
    );
  };
  const launch = (program: Program) =>
    processes.launch(program, [join(assets, program), ...commands[program], ...(options.flags?.[program] ?? [])]);
  const start = async (program: Program): Promise<void> => {
    launch(program);
    await untilReady(program, processes, answers, options.readyMs ?? 120_000);
  };
  const stop = async (): Promise<void> => {
    await Promise.all(extras.map((program) => processes.end(program)));
    // The API server gets no time of grace: nobody is served any more.
    await processes.end("kube-apiserver", 0);
    await processes.end("etcd");
    processes.forget();
    rmSync(folder, { recursive: true, force: true });
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
    adminKubeconfig: writeKubeconfig(settings, "admin", adminToken),
    folder,
    call,
    start,
    stop,
    kubeconfig: (name, token) => writeKubeconfig(settings, name, token),
    pid: (program) => processes.pid(program),
    log: (program) => processes.log(program),
    signal: (program, signal) => processes.signal(program, signal),
    serviceAccountToken: (namespace, name, seconds = 3600) => requestToken(call, namespace, name, seconds),
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
