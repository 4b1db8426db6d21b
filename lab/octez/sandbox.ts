/**
 * A network of real Octez programs around the laboratory's pods: one node, a baker with four delegates, which are a
 * quorum without ours, and an accuser. The pods' nodes are its peers.
 */
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../daemons/runtime/clock";
import { createOctezRpc } from "../../daemons/runtime/octez-rpc";
import type { Endpoint } from "../cluster/link";
import { ContainerProcess } from "../cluster/process";
import { testKey } from "../doubles/signing-keys";
import * as commandLines from "./command-lines";
import { activatorKey, protocol, sandboxParameters, type ChainTimes } from "./parameters";
import type { Octez, OctezProgram } from "./programs";
import { SandboxChain } from "./sandbox-chain";

export interface SandboxOptions {
  octez: Octez;
  folder: string;
  /** Address of this machine for the network's node. */
  host: string;
  /** Marks its processes. */
  run: string;
  times: ChainTimes;
  /** Ours: public key and secret of the delegate. */
  delegate: { address: string; publicKey: string; secret: string };
  activePod: () => string | undefined;
  note: (program: OctezProgram, event: string, reason: string) => void;
}
const others = [1, 2, 3, 4].map((number) => ({
  alias: `other${number}`,
  key: testKey("tz1", `sandbox ${number}`),
}));
/** Whatever takes longer has failed. */
const longestMs = 120_000;
/** Aliases of the client that an operator would have. */
const ourAlias = "delegate";

export class Sandbox {
  readonly chain: SandboxChain;
  private readonly processes: ContainerProcess[] = [];
  private readonly nodeFolder: string;
  private readonly client: commandLines.Client;
  private started = 0;
  private stopped = false;

  constructor(private readonly o: SandboxOptions) {
    this.nodeFolder = join(o.folder, "node");
    this.client = { folder: join(o.folder, "client"), node: `http://${o.host}:8732` };
    for (const folder of [this.nodeFolder, this.client.folder]) mkdirSync(folder, { recursive: true });
    const { node } = this.client;
    this.chain = new SandboxChain({
      ...{ rpc: createOctezRpc({ url: node, clock: systemClock }), node, delegate: o.delegate.address },
      ...{ blocksPerCycle: o.times.blocksPerCycle, activePod: o.activePod },
      onError: (reason) => o.note("octez-node", "rpc", reason),
    });
  }

  /** Where the pods' nodes find the network. */
  get peer(): Endpoint {
    return { host: this.o.host, port: 9732 };
  }

  /** Resolves when blocks are made. @throws Error with a program's last words where one ends or nothing comes */
  async start(): Promise<void> {
    const { host, times, delegate } = this.o;
    const at = { rpc: `${host}:8732`, p2p: `${host}:${this.peer.port}` };
    await this.toEnd("octez-node", commandLines.nodeConfig(this.nodeFolder, at));
    const node = this.keep("octez-node", commandLines.nodeRun(this.nodeFolder));
    await this.reached(0, node);
    const keys = [
      { alias: "activator", secret: activatorKey },
      { alias: ourAlias, secret: delegate.secret },
      ...others.map(({ alias, key }) => ({ alias, secret: key.secret })),
    ];
    for (const { alias, secret } of keys)
      await this.toEnd("octez-client", commandLines.importKey(this.client, alias, secret));
    const parameters = join(this.o.folder, "parameters.json");
    const publicKeys = [delegate.publicKey, ...others.map(({ key }) => key.publicKey)];
    writeFileSync(parameters, JSON.stringify(sandboxParameters(publicKeys, times)));
    await this.toEnd("octez-client", commandLines.activate(this.client, protocol, parameters));
    const aliases = others.map(({ alias }) => alias);
    const baker = this.keep("octez-baker", commandLines.bakerRun(this.client, this.nodeFolder, aliases));
    this.keep("octez-accuser", commandLines.accuserRun(this.client));
    await this.reached(3, baker);
    this.chain.start();
    await once(this.chain, "block", { signal: AbortSignal.timeout(longestMs) });
  }

  /** As the delegate's operator does. */
  async setKey(kind: "consensus" | "companion", secret: string): Promise<void> {
    await this.toEnd("octez-client", commandLines.importKey(this.client, kind, secret));
    await this.toEnd("octez-client", commandLines.setKey(this.client, kind, ourAlias, kind));
  }

  /** Of the block two below the head. @returns its hash */
  async exportSnapshot(file: string): Promise<string> {
    const { hash } = await this.header("head~2");
    await this.toEnd("octez-node", commandLines.snapshotExport(this.nodeFolder, hash, file));
    return hash;
  }

  private async header(block: string): Promise<{ hash: string; level: number }> {
    const signal = AbortSignal.timeout(5000);
    const response = await fetch(`${this.client.node}/chains/main/blocks/${block}/header`, { signal });
    if (!response.ok) throw new Error(`${block}: HTTP ${response.status}`);
    return (await response.json()) as { hash: string; level: number };
  }
  /** @throws Error where the process ends before, or after `longestMs` */
  private async reached(level: number, by: { process: ContainerProcess; said: string[] }): Promise<void> {
    const deadline = performance.now() + longestMs;
    while (((await this.header("head").catch(() => undefined))?.level ?? -1) < level) {
      if (this.stopped) throw new Error("stopped while the sandbox began");
      if (by.process.exited || performance.now() > deadline)
        throw new Error(`the sandbox did not reach level ${level}: ${by.said.join("\n")}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  private launch(
    program: OctezProgram,
    args: string[],
    onExit: (code: number | null) => void,
  ): { process: ContainerProcess; said: string[] } {
    const { octez, folder, run, note } = this.o;
    const said: string[] = [];
    const process = new ContainerProcess({
      id: `${run}/sandbox/${this.started++}`,
      command: [octez.paths[program], ...args],
      env: {
        ...{ PATH: "/usr/local/bin:/usr/bin:/bin", HOME: folder, LAB_RUN: run },
        // It asks nobody at a terminal whether this network is for tests.
        TEZOS_CLIENT_UNSAFE_DISABLE_DISCLAIMER: "yes",
      },
      cwd: folder,
      onLine: (line) => {
        said.push(line);
        if (said.length > 30) said.shift();
        note(program, "output", line.slice(0, 300));
      },
      onExit: ({ code }) => onExit(code),
    });
    this.processes.push(process);
    return { process, said };
  }
  private toEnd(program: OctezProgram, args: string[]): Promise<void> {
    const words = `${program} ${args.join(" ").replaceAll(/unencrypted:\w+/g, "unencrypted:...")}`;
    let late = false;
    return new Promise((resolve, reject) => {
      const launched = this.launch(program, args, (code) => {
        clearTimeout(timer);
        if (code === 0) resolve();
        else
          reject(
            new Error(
              `${words} ${late ? `took longer than ${longestMs} ms` : `ended with ${code}`}: ${launched.said.join("\n")}`,
            ),
          );
      });
      const timer = setTimeout(() => {
        late = true;
        launched.process.kill();
      }, longestMs);
    });
  }
  private keep(program: OctezProgram, args: string[]): { process: ContainerProcess; said: string[] } {
    return this.launch(program, args, (code) => {
      if (!this.stopped) this.o.note(program, "ended", `exit ${code}`);
    });
  }

  stop(): void {
    this.stopped = true;
    this.chain.stop();
    for (const process of this.processes) process.kill();
  }
}
