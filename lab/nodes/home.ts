/**
 * What is outside of the cluster: the signer at home with its tunnels, as scripts/signer-host commands them, the
 * publisher of the snapshot, the chain.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join, resolve } from "node:path";
import { signerPorts } from "../../contract/ports";
import { signerLinkUser, type SignerLinkOutput } from "../../contract/signer-link";
import { bundleDoubles } from "../bundle";
import { environment, kill, run, tied } from "./shell";

const signerHost = resolve(__dirname, "../../scripts/signer-host");
/** Where the signer at home listens: on this machine alone. */
const signerAddress = "127.77.7.1";

/** A snapshot and the page with its block's hash. */
export async function servePublisher(host: string, block: () => string): Promise<() => void> {
  const server = createServer((request, response) =>
    response.end(request.url?.endsWith(".html") ? `<html>${block()}</html>\n` : JSON.stringify({ block: block() })),
  );
  await new Promise<void>((done, fail) => server.once("error", fail).listen(80, host, done));
  return () => {
    server.close();
    server.closeAllConnections();
  };
}

export function makeSshKey(folder: string, name: string): { file: string; publicKey: string } {
  const file = join(folder, name);
  run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", file]);
  const publicKey = readFileSync(`${file}.pub`, "utf8").trim().split(" ").slice(0, 2).join(" ");
  return { file, publicKey };
}

/** Runs a command line again one second after each end, as its systemd unit would. */
class Kept {
  private child: ChildProcess | undefined;
  private timer: NodeJS.Timeout | undefined;
  private stopped = false;
  output = "";
  constructor(private readonly command: readonly string[]) {
    this.start();
  }
  private start(): void {
    const [program, args] = tied(this.command);
    this.child = spawn(program, args, { env: environment, stdio: ["ignore", "ignore", "pipe"] });
    this.child.stderr?.on("data", (data: Buffer) => (this.output = (this.output + data.toString()).slice(-2000)));
    this.child.once("exit", () => {
      if (!this.stopped) this.timer = setTimeout(() => this.start(), 1000);
    });
  }
  async stop(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    await kill(this.child);
  }
}

export interface HomeOptions {
  folder: string;
  baker: string;
  signer: string;
  /** Address -> unencrypted:edsk... */
  keys: Record<string, string>;
  /** Unix socket of the trace. */
  trace: string;
}
export interface TunnelTarget {
  zone: string;
  host: string;
  port: number;
}

export class Home {
  private signer: ChildProcess | undefined;
  private tunnels: Kept[] = [];
  private constructor(private readonly options: HomeOptions) {}

  static async start(options: HomeOptions): Promise<Home> {
    const home = new Home(options);
    const base = join(options.folder, "home");
    mkdirSync(base, { recursive: true });
    const { doubles } = await bundleDoubles();
    const signer = [process.execPath, doubles, "octez-signer", "--base-dir", base];
    for (const [address, key] of Object.entries(options.keys))
      run([...signer, "import", "secret", "key", address, key, "--force"], undefined, { LAB_START_MS: "0" });
    const [program, args] = tied([
      ...[...signer, "launch", "http", "signer", "--address", signerAddress, "--port", String(signerPorts.signer)],
      ...["--magic-bytes", "0x11,0x12,0x13", "--check-high-watermark"],
    ]);
    const env = { ...environment, LAB_TRACE: options.trace, LAB_POD: options.signer, LAB_START_MS: "0" };
    home.signer = spawn(program, args, { env, stdio: "ignore" });
    return home;
  }

  /** A tunnel to each zone. The load balancer's place is taken by a port of the zone's own machine. */
  connect(targets: readonly TunnelTarget[], identity: string, hostKey: string): void {
    const { folder, baker, signer, keys } = this.options;
    const known = targets.map(({ host, port }) => `[${host}]:${port} ${hostKey}`);
    writeFileSync(join(folder, "known_hosts"), known.join("\n") + "\n");
    for (const { zone, host, port } of targets) {
      const link: SignerLinkOutput = {
        ...{ baker, signer, host, host_key: hostKey, user: signerLinkUser, listen: `0.0.0.0:${signerPorts.signer}` },
        ...{ tunnels: [{ zone, port }], addresses: Object.keys(keys), authentication_key: "", protocol: "http" },
      };
      const outputs = join(folder, `outputs-${zone}.json`);
      writeFileSync(outputs, JSON.stringify([link]));
      const line = run([
        ...["bash", signerHost, "command", "--outputs", outputs, "--zone", zone, "--state-dir", folder],
        ...["--identity", identity, "--signer-address", signerAddress],
      ]);
      this.tunnels.push(new Kept(line.trim().split(" ")));
    }
  }
  get tunnelOutput(): string {
    return this.tunnels.map(({ output }) => output).join("\n");
  }
  async stop(): Promise<void> {
    for (const tunnel of this.tunnels) await tunnel.stop();
    this.tunnels = [];
    await kill(this.signer);
  }
}
