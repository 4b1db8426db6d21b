/**
 * A tunnel pod's sshd, as synthesized, run by the real OpenSSH without root; and the home side as scripts/signer-host
 * commands it.
 */
import { execFileSync, spawn, spawnSync, type ChildProcess } from "node:child_process";
import { chmodSync, chownSync, existsSync, mkdtempSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir, userInfo } from "node:os";
import { join, resolve } from "node:path";
import { authorizedKey, signerLinkUser, sshdConfig, type SignerLinkOutput } from "../../contract/signer-link";

const root = resolve(__dirname, "../..");
const sshdPath = "/usr/sbin/sshd";

/** Why these suites cannot run here, or undefined. */
export function missingForSsh(): string | undefined {
  const missing = [
    sshdPath,
    "/usr/bin/ssh",
    "/usr/bin/ssh-keygen",
    "/usr/bin/jq",
    "/usr/bin/curl",
    "/usr/bin/setpriv",
    "/usr/bin/unshare",
  ].filter((path) => !existsSync(path));
  if (process.platform !== "linux") return "needs Linux (one loopback address a pod)";
  return missing.length > 0
    ? `not installed: ${missing.join(", ")} (apt-get install openssh-server openssh-client jq curl util-linux)`
    : undefined;
}

/** A loopback address that no other run is likely to use. */
export const loopback = (): string =>
  `127.${100 + Math.floor(Math.random() * 100)}.${Math.floor(Math.random() * 250)}.${2 + Math.floor(Math.random() * 250)}`;

/**
 * Root gives sshd a passwd file of its own, like the image's, in a mount namespace and drops to uid 1000; anybody else
 * runs it as themselves.
 */
const isRoot = process.getuid?.() === 0;
const podUser = 1000;
export const sshUser = isRoot ? signerLinkUser : userInfo().username;

export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "tog-ssh-"));
  chmodSync(folder, 0o755);
  return folder;
}
export function makeKey(folder: string, name: string): { file: string; publicKey: string } {
  const file = join(folder, name);
  execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", file]);
  return { file, publicKey: readFileSync(`${file}.pub`, "utf8").trim() };
}

export async function until(what: string, check: () => boolean | Promise<boolean>, ms = 20_000): Promise<number> {
  const start = process.hrtime.bigint();
  const elapsed = () => Number(process.hrtime.bigint() - start) / 1e6;
  while (!(await check())) {
    if (elapsed() > ms) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise((done) => setTimeout(done, 50));
  }
  return elapsed();
}
export const answers = (host: string, port: number): Promise<boolean> =>
  new Promise((done) => {
    const socket = connect({ host, port, timeout: 1000 }, () => (socket.destroy(), done(true)));
    socket.on("error", () => done(false));
    socket.on("timeout", () => (socket.destroy(), done(false)));
  });

/** Whether something listens there, without a connection: one would be traffic. */
export function listens(host: string, port: number): boolean {
  const hex = `${host
    .split(".")
    .reverse()
    .map((part) => Number(part).toString(16).padStart(2, "0"))
    .join("")}:${port.toString(16).padStart(4, "0")}`.toUpperCase();
  return readFileSync("/proc/net/tcp", "utf8")
    .split("\n")
    .some((line) => line.includes(` ${hex} `) && line.includes(" 0A "));
}

export interface TunnelPod {
  address: string;
  /** Where sshd and the tunnel listen on that address. */
  sshPort: number;
  signerPort: number;
  hostKey: string;
  log(): string;
  stop(): Promise<void>;
}

/** Starts one tunnel pod on a loopback address of its own and waits until sshd answers. */
export async function startTunnelPod(
  folder: string,
  publicKey: string,
  address = loopback(),
  host?: { file: string; publicKey: string },
): Promise<TunnelPod> {
  const name = address.replaceAll(".", "-");
  const hostKey = host ?? makeKey(folder, `host-${name}`);
  const [sshPort, signerPort] = [2222, 6732];
  const pod = join(folder, name);
  if (!existsSync(pod)) mkdirSync(pod);
  const [hostKeyFile, keys, config] = ["host_key", "authorized_keys", "sshd_config"].map((file) => join(pod, file)) as [
    string,
    string,
    string,
  ];
  writeFileSync(hostKeyFile, readFileSync(hostKey.file), { mode: 0o600 });
  writeFileSync(keys, authorizedKey(publicKey, `${address}:${signerPort}`));
  writeFileSync(
    config,
    sshdConfig({ hostKeyFile, authorizedKeysFile: keys, listenAddress: address, port: sshPort, user: sshUser }),
  );
  const sshd = [sshdPath, "-D", "-e", "-f", config];
  if (isRoot) {
    chownSync(hostKeyFile, podUser, podUser);
    writeFileSync(
      join(pod, "passwd"),
      `root:x:0:0:root:/root:/bin/sh\n${signerLinkUser}:x:${podUser}:${podUser}::/:/usr/sbin/nologin\nsshd:x:101:65534::/:/usr/sbin/nologin\n`,
    );
  }
  const asPod = [
    "/bin/sh",
    "-c",
    `mount --bind ${pod}/passwd /etc/passwd && exec setpriv --reuid=${podUser} --regid=${podUser} --clear-groups -- "$@"`,
    "sh",
  ];
  const [command, ...args] = (isRoot ? ["/usr/bin/unshare", "--mount", ...asPod, ...sshd] : sshd) as [
    string,
    ...string[],
  ];
  const child = spawn(command, args, { stdio: ["ignore", "ignore", "pipe"], detached: true });
  let log = "";
  child.stderr.on("data", (data: Buffer) => (log += data.toString()));
  await until(`sshd on ${address}: ${log}`, () => answers(address, sshPort), 5000);
  return { address, sshPort, signerPort, hostKey: hostKey.publicKey, log: () => log, stop: () => stopGroup(child) };
}

/** All processes below one: sshd gives each connection a session, and so a process group, of its own. */
function descendants(pid: number): number[] {
  const children = execFileSync("ps", ["-eo", "pid=,ppid="], { encoding: "utf8" })
    .split("\n")
    .map((line) => line.trim().split(/\s+/).map(Number))
    .filter(([, parent]) => parent === pid)
    .map(([child]) => child ?? 0);
  return children.flatMap((child) => [child, ...descendants(child)]);
}

/** SIGKILL to a detached child's group and to everything below it, and waits for its end. */
export async function stopGroup(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((done) => child.once("exit", done));
  for (const pid of descendants(child.pid ?? 0)) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It has ended meanwhile.
    }
  }
  try {
    process.kill(-(child.pid ?? 0), "SIGKILL");
  } catch {
    child.kill("SIGKILL");
  }
  await gone;
}

/** The outputs file that scripts/signer-host reads, for pods given by zone. */
export function writeOutputs(
  folder: string,
  pods: Record<string, { host: string; port: number; hostKey: string; listen: string }>,
  addresses: string[] = [],
  authenticationKey = "",
  protocol: SignerLinkOutput["protocol"] = "http",
): string {
  const entries = Object.entries(pods);
  const first = entries[0]?.[1];
  if (!first) throw new Error("no pods");
  const link: SignerLinkOutput = {
    baker: "alice",
    signer: "home1",
    host: first.host,
    host_key: first.hostKey,
    user: sshUser,
    protocol,
    listen: first.listen,
    tunnels: entries.map(([zone, pod]) => ({ zone, port: pod.port })),
    addresses,
    authentication_key: authenticationKey,
  };
  const file = join(folder, "outputs.json");
  writeFileSync(file, JSON.stringify({ baker: { signer_links: JSON.stringify([link]) } }));
  return file;
}

export const signerHostPath = join(root, "scripts/signer-host");
export const signerHost = (args: string[]): { status: number | null; stdout: string; stderr: string } => {
  const { status, stdout, stderr } = spawnSync(signerHostPath, args, { encoding: "utf8", timeout: 60_000 });
  return { status, stdout, stderr };
};

/** Runs the ssh command line of `signer-host command` as its systemd unit would: again one second after each end. */
export function keepTunnel(commandLine: string): { restarts(): number; stop(): Promise<void>; output(): string } {
  const [command, ...args] = commandLine.trim().split(" ") as [string, ...string[]];
  let stopped = false;
  let restarts = -1;
  let output = "";
  let child: ChildProcess | undefined;
  let timer: NodeJS.Timeout | undefined;
  const start = () => {
    restarts++;
    child = spawn(command, args, { stdio: ["ignore", "ignore", "pipe"], detached: true });
    child.stderr?.on("data", (data: Buffer) => (output += data.toString()));
    child.once("exit", () => {
      if (!stopped) timer = setTimeout(start, 1000);
    });
  };
  start();
  return {
    restarts: () => restarts,
    output: () => output,
    stop: async () => {
      stopped = true;
      clearTimeout(timer);
      if (child) await stopGroup(child);
    },
  };
}

export const removeFolder = (folder: string): void => rmSync(folder, { recursive: true, force: true });
