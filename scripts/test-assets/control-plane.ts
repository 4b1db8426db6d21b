/**
 * A real control plane on loopback for tests: etcd and kube-apiserver (RBAC, service-account tokens, pod-security admission), on request with
 * controller-manager and scheduler. From KUBEBUILDER_ASSETS (the layout of envtest). Its processes end with stop(), by their ids.
 */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface ControlPlane {
  url: string;
  caFile: string;
  adminToken: string;
  /** kubeconfig file of a cluster admin, context "test". */
  kubeconfig: string;
  /** One JSON request as admin. @throws Error on a status of 400 and above */
  api(method: string, path: string, body?: unknown, contentType?: string): Promise<Record<string, unknown>>;
  /** A token of a service account, as a projected volume would hold it. */
  serviceAccountToken(namespace: string, name: string): Promise<string>;
  /** SIGKILL and a new start on the same port and data. */
  restartApiServer(): Promise<void>;
  /** SIGSTOP / SIGCONT of etcd. */
  pauseEtcd(paused: boolean): void;
  stop(): Promise<void>;
}

/** Why no control plane can be started here, or undefined. */
export function missingAssets(assets = process.env.KUBEBUILDER_ASSETS): string | undefined {
  if (!assets) return "KUBEBUILDER_ASSETS is not set: `npm run test:assets` makes the folder";
  const missing = ["etcd", "kube-apiserver"].filter((name) => !existsSync(join(assets, name)));
  return missing.length > 0 ? `${assets} lacks ${missing.join(", ")}` : undefined;
}

const freePort = (host: string): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, host, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address ? address.port : 0));
    });
  });

export async function startControlPlane(options: { controllers?: boolean; assets?: string } = {}): Promise<ControlPlane> {
  const assets = options.assets ?? process.env.KUBEBUILDER_ASSETS ?? "";
  const missing = missingAssets(assets);
  if (missing) throw new Error(missing);
  const folder = mkdtempSync(join(tmpdir(), "tog-cluster-"));
  const host = "127.0.0.1";
  const [etcdPort, peerPort, apiPort] = [await freePort(host), await freePort(host), await freePort(host)];
  const adminToken = randomBytes(24).toString("hex");
  const file = (name: string) => join(folder, name);
  writeFileSync(file("tokens.csv"), `${adminToken},admin,admin,system:masters\n`, { mode: 0o600 });
  execFileSync("openssl", ["genrsa", "-out", file("sa.key"), "2048"], { stdio: "ignore" });
  execFileSync("openssl", ["rsa", "-in", file("sa.key"), "-pubout", "-out", file("sa.pub")], { stdio: "ignore" });
  // A CA and a serving certificate, so that clients verify a chain as in a cluster.
  execFileSync(
    "openssl",
    [
      "req",
      "-x509",
      "-newkey",
      "rsa:2048",
      "-nodes",
      "-keyout",
      file("ca.key"),
      "-out",
      file("ca.crt"),
      "-days",
      "2",
      "-subj",
      "/CN=test-ca",
    ],
    { stdio: "ignore" },
  );
  execFileSync(
    "openssl",
    ["req", "-newkey", "rsa:2048", "-nodes", "-keyout", file("tls.key"), "-out", file("tls.csr"), "-subj", "/CN=kube-apiserver"],
    { stdio: "ignore" },
  );
  writeFileSync(file("san"), "subjectAltName=IP:127.0.0.1,IP:10.0.0.1,DNS:localhost,DNS:kubernetes.default.svc\n");
  execFileSync(
    "openssl",
    [
      "x509",
      "-req",
      "-in",
      file("tls.csr"),
      "-CA",
      file("ca.crt"),
      "-CAkey",
      file("ca.key"),
      "-CAcreateserial",
      "-days",
      "2",
      "-extfile",
      file("san"),
      "-out",
      file("tls.crt"),
    ],
    { stdio: "ignore" },
  );
  const url = `https://${host}:${apiPort}`;
  writeFileSync(
    file("kubeconfig"),
    JSON.stringify({
      apiVersion: "v1",
      kind: "Config",
      "current-context": "test",
      clusters: [{ name: "test", cluster: { server: url, "certificate-authority": file("ca.crt") } }],
      users: [{ name: "admin", user: { token: adminToken } }],
      contexts: [{ name: "test", context: { cluster: "test", user: "admin" } }],
    }),
    { mode: 0o600 },
  );

  const running = new Map<string, ChildProcess>();
  const logs = new Map<string, string>();
  const start = (name: string, args: string[]) => {
    const child = spawn(join(assets, name), args, { stdio: ["ignore", "ignore", "pipe"] });
    child.stderr.on("data", (data: Buffer) => logs.set(name, ((logs.get(name) ?? "") + data.toString()).slice(-4000)));
    running.set(name, child);
  };
  const end = async (name: string, signal: NodeJS.Signals = "SIGKILL") => {
    const child = running.get(name);
    running.delete(name);
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill(signal);
    await gone;
  };
  const stop = async () => {
    for (const name of ["kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd"]) await end(name);
    rmSync(folder, { recursive: true, force: true });
  };

  const api: ControlPlane["api"] = (method, path, body, contentType = "application/json") =>
    new Promise((resolve, reject) => {
      const text = body === undefined ? undefined : JSON.stringify(body);
      const call = request(
        `${url}${path}`,
        {
          method,
          ca: readFileSync(file("ca.crt")),
          timeout: 10_000,
          headers: {
            authorization: `Bearer ${adminToken}`,
            ...(text === undefined ? {} : { "content-type": contentType, "content-length": Buffer.byteLength(text) }),
          },
        },
        (response) => {
          let answer = "";
          response.on("data", (data: Buffer) => (answer += data.toString()));
          response.on("end", () => {
            if ((response.statusCode ?? 500) >= 400) reject(new Error(`${method} ${path}: ${response.statusCode} ${answer.slice(0, 500)}`));
            else resolve(path.startsWith("/readyz") ? {} : (JSON.parse(answer) as Record<string, unknown>));
          });
        },
      );
      call.on("timeout", () => call.destroy(new Error("no answer within 10 s")));
      call.on("error", reject);
      call.end(text);
    });
  const ready = async () => {
    for (let attempt = 0; attempt < 240; attempt++) {
      if ((running.get("kube-apiserver")?.exitCode ?? null) !== null) break;
      try {
        return void (await api("GET", "/readyz"));
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 250));
      }
    }
    const log = logs.get("kube-apiserver");
    await stop();
    throw new Error(`kube-apiserver did not get ready: ${log}`);
  };
  const startApiServer = () =>
    start("kube-apiserver", [
      `--etcd-servers=http://${host}:${etcdPort}`,
      `--bind-address=${host}`,
      `--advertise-address=${host}`,
      `--secure-port=${apiPort}`,
      `--tls-cert-file=${file("tls.crt")}`,
      `--tls-private-key-file=${file("tls.key")}`,
      "--authorization-mode=RBAC",
      `--token-auth-file=${file("tokens.csv")}`,
      `--service-account-key-file=${file("sa.pub")}`,
      `--service-account-signing-key-file=${file("sa.key")}`,
      "--service-account-issuer=https://kubernetes.default.svc",
      "--service-cluster-ip-range=10.0.0.0/24",
      "--endpoint-reconciler-type=none",
      "--allow-privileged=true",
    ]);

  start("etcd", [
    `--data-dir=${file("etcd")}`,
    `--listen-client-urls=http://${host}:${etcdPort}`,
    `--advertise-client-urls=http://${host}:${etcdPort}`,
    `--listen-peer-urls=http://${host}:${peerPort}`,
    `--initial-advertise-peer-urls=http://${host}:${peerPort}`,
    `--initial-cluster=default=http://${host}:${peerPort}`,
  ]);
  startApiServer();
  await ready();
  if (options.controllers) {
    for (const name of ["kube-controller-manager", "kube-scheduler"] as const) {
      const extra =
        name === "kube-scheduler"
          ? []
          : [
              `--service-account-private-key-file=${file("sa.key")}`,
              `--root-ca-file=${file("ca.crt")}`,
              "--use-service-account-credentials=false",
            ];
      start(name, [`--kubeconfig=${file("kubeconfig")}`, "--leader-elect=false", "--secure-port=0", ...extra]);
    }
  }
  return {
    url,
    caFile: file("ca.crt"),
    adminToken,
    kubeconfig: file("kubeconfig"),
    api,
    async serviceAccountToken(namespace, name) {
      const answer = await api("POST", `/api/v1/namespaces/${namespace}/serviceaccounts/${name}/token`, {
        apiVersion: "authentication.k8s.io/v1",
        kind: "TokenRequest",
        spec: { expirationSeconds: 3600 },
      });
      return (answer as { status: { token: string } }).status.token;
    },
    async restartApiServer() {
      await end("kube-apiserver");
      startApiServer();
      await ready();
    },
    pauseEtcd: (paused) => void running.get("etcd")?.kill(paused ? "SIGSTOP" : "SIGCONT"),
    async stop() {
      running.get("etcd")?.kill("SIGCONT");
      await stop();
    },
  };
}
