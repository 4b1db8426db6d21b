/** A pod on its machine: its containers, its disk, and the kubelet that starts them again. */
import type { PodEnv } from "../../contract/env";
import type { NonceStatus, SidecarStatus } from "../../contract/status";
import type { GateAnswer } from "../../daemons/signing-gate/gate";
import { secondsTime } from "../../daemons/runtime/kube";
import { BlockDisk } from "../checker/schedules/block-disk";
import type { Promises } from "../checker/schedules/promises";
import { chainId } from "../checker/schedules/scene";
import type { SimulatedSigners } from "../checker/schedules/signers";
import { BakerRun } from "./baker-run";
import type { Head, SimulatedChain, SimulatedNode } from "./chain";
import type { PodParts } from "./containers";
import { Documents, type ContainerName, type Serving } from "./documents";
import { ElectorContainer } from "./elector-container";
import type { FaultKind } from "./faults";
import { GateContainer } from "./gate-container";
import type { SimulatedKube } from "./kube-api";
import { Process, worldBeganMs, type MachineClock } from "./process";
import { nameOf, type Stage } from "./stage";
import { SupervisorContainer } from "./supervisor-container";

/** What surrounds the pods. */
export interface Surroundings {
  stage: Stage;
  kube: SimulatedKube;
  chain: SimulatedChain;
  signers: SimulatedSigners<Process>;
  promises: Promises;
}

/** The exchange of nonces is not simulated: it always succeeds. */
const allNonces: NonceStatus = {
  ...{ missing: 0, committed: 0, local: 0, replicated: 0, revealed: 0, reconciled: true, reason: "" },
  ...{ peers: [], finalPushed: true },
};

const stops: Readonly<Record<string, FaultKind>> = {
  ...{ elector: "elector-stops", "signing-gate": "gate-stops", supervisor: "supervisor-stops" },
};

export class SimulatedPod {
  readonly name: string;
  readonly clock: MachineClock;
  readonly disk: BlockDisk;
  elector: ElectorContainer | undefined;
  gate: GateContainer | undefined;
  supervisor: SupervisorContainer | undefined;
  /** The child of the supervisor, while it lives. */
  run: BakerRun | undefined;
  private sidecar: Process | undefined;
  private exchange: Process | undefined;
  private readonly documents: Documents;
  private readonly node: SimulatedNode;
  /** What its gate was asked last. */
  asked: readonly { address: string; bytes: Uint8Array }[] = [];
  private uids = 0;
  private pids = 100;

  constructor(
    readonly ordinal: number,
    private readonly o: Surroundings,
    /** A daemon starts, or a machine goes on. */
    private readonly onRun: () => void,
  ) {
    const { stage } = o;
    const { world } = stage;
    this.name = nameOf(ordinal);
    const node = o.chain.nodes[ordinal];
    if (!node) throw new Error(`no node for pod ${ordinal}`);
    this.node = node;
    // "About equal rate": real clocks differ by a hundredth of this.
    const rate = world.between(0.995, 1.005);
    this.clock = { rate, startMs: world.between(1e5, 1e9), wallSkewMs: world.between(-500, 500) };
    this.disk = new BlockDisk({
      world,
      get faults() {
        return stage.suffers(ordinal, "disk-fails");
      },
      features: {
        badDisk: true,
        get slowDisk() {
          return stage.suffers(ordinal, "disk-slow");
        },
      },
      sabotage: stage.sabotage === "gate-forgets" ? "no-sync" : undefined,
    });
    this.documents = new Documents(stage, (name) => this.serving(name));
  }

  get uid(): string {
    return `u${this.uids}`;
  }
  private get env(): PodEnv {
    return {
      ...{ TOG_POD_NAME: this.name, TOG_POD_UID: this.uid, TOG_POD_ADDRESS: `10.0.0.${this.ordinal + 1}` },
      ...{ TOG_LOCAL_ADDRESS: "127.0.0.1", TOG_NAMESPACE: "bakers", TOG_ZONE: "", TOG_KUBE_URL: "", TOG_KUBE_DIR: "" },
      ...{ TOG_NODE_DIR: "", TOG_CLIENT_DIR: "", TOG_STATE_DIR: "", TOG_SECRETS_DIR: "", TOG_CONFIG_FILE: "" },
    };
  }
  private get parts(): PodParts {
    const { ordinal, env, documents, node } = this;
    return { ...this.o, ordinal, env, documents, node, identity: `${this.name}_${this.uid}` };
  }
  private process(name: string): Process {
    this.o.stage.counts.starts++;
    const process = new Process(name, this.o.stage.world, this.clock);
    if (this.o.stage.suffers(this.ordinal, "machine-stops")) process.stop();
    return process;
  }
  private get processes(): Process[] {
    const { elector, gate, supervisor, run, sidecar, exchange } = this;
    const all = [elector?.process, gate?.process, supervisor?.process, run?.process, sidecar, exchange];
    return all.flatMap((process) => (process ? [process] : []));
  }

  // --- starts and ends

  /** The pod is made, by a StatefulSet, on the disk that it had. */
  start(): void {
    this.uids++;
    this.o.stage.tell(`${this.name} starts as ${this.uid}`);
    this.sidecar = this.process("sidecar");
    this.exchange = this.process("nonces");
    this.startElector();
    this.startGate();
    this.startSupervisor();
  }
  get isUp(): boolean {
    return this.sidecar !== undefined;
  }

  private startElector(): void {
    const process = this.process("elector");
    process.deliver(() => {
      const elector = (this.elector = new ElectorContainer(process, this.parts));
      const { gate, supervisor } = this;
      if (gate?.process.alive) elector.tell(gate.process, (record) => gate.hear(record));
      if (supervisor?.process.alive) elector.tell(supervisor.process, (record) => supervisor.hear(record));
    });
  }
  private startGate(): void {
    const { signers, promises } = this.o;
    const process = this.process("signing-gate");
    const gate = (this.gate = new GateContainer(process, this.parts, this.disk, signers, promises));
    process.deliver(() => {
      void gate.start();
      if (this.elector?.process.alive) this.elector.tell(process, (record) => gate.hear(record));
    });
  }
  private startSupervisor(): void {
    const process = this.process("supervisor");
    process.deliver(() => {
      const find = (pid: number) => (this.run?.pid === pid ? this.run : undefined);
      const supervisor = new SupervisorContainer(process, this.parts, () => this.startRun(process), find);
      this.supervisor = supervisor;
      if (this.elector?.process.alive) this.elector.tell(process, (record) => supervisor.hear(record));
    });
  }
  private startRun(parent: Process): BakerRun {
    const { stage, chain } = this.o;
    const run = new BakerRun(++this.pids, this.process("octez-baker"), {
      ...{ stage, chain, pod: this.ordinal },
      ask: (from, address, bytes, heard) => this.ask(from, address, bytes, heard),
      onExit: (ended, code, signal) => {
        if (this.run === ended) this.run = undefined;
        stage.tell(`${this.name}: octez-baker has ended (${signal ?? code})`);
        parent.deliver(() => ended.emit("exit", code, signal));
      },
    });
    this.run = run;
    this.onRun();
    return run;
  }

  /** A container's process ends, and the kubelet starts it again later. */
  restart(name: ContainerName, afterMs: number): void {
    if (!this.isUp) return;
    const { uid } = this;
    if (!this.kill(name)) return;
    this.o.stage.world.after(afterMs, () => {
      if (uid !== this.uid || !this.isUp) return;
      this.o.stage.tell(`${this.name}: the ${name} starts again`);
      if (name === "elector") this.startElector();
      if (name === "signing-gate") this.startGate();
      if (name === "supervisor") this.startSupervisor();
      if (name === "sidecar") this.sidecar = this.process("sidecar");
    });
  }
  /** @returns false where it does not run */
  private kill(name: ContainerName): boolean {
    const process = this.serving(name)?.process;
    if (!process?.alive) return false;
    process.end();
    this.o.kube.forget(process);
    if (name === "signing-gate") this.disk.endProcess();
    // The kernel kills the child of a dead supervisor.
    if (name === "supervisor") this.run?.exit(null, "SIGKILL");
    return true;
  }

  /** The machine ends with all that was not synced. */
  endMachine(): void {
    this.endPod();
    this.disk.endMachine();
  }
  private endPod(): void {
    for (const name of ["supervisor", "elector", "signing-gate"] as const) this.kill(name);
    for (const process of this.processes) process.end();
    this.run = this.sidecar = this.exchange = undefined;
    this.elector = this.gate = this.supervisor = undefined;
  }
  /** SIGTERM to every container, a preStop call for those that the handover needs. Another pod follows. */
  evict(): void {
    const { elector, supervisor } = this;
    if (!elector?.process.alive || !supervisor?.process.alive) return this.endPod();
    const { uid } = this;
    const ended = () => {
      if (uid === this.uid && this.isUp) this.endPod();
    };
    supervisor.process.deliver(() => supervisor.terminate(() => undefined));
    elector.process.deliver(() => elector.terminate(ended));
    // The grace period of the pod.
    this.o.stage.world.after(30_000, ended);
  }

  stop(name: ContainerName | "machine"): void {
    for (const process of this.stoppable(name)) process.stop();
  }
  resume(name: ContainerName | "machine"): void {
    for (const process of this.stoppable(name)) if (!this.isHeld(process)) process.resume();
    this.onRun();
  }
  /** Something else stops it, too. */
  private isHeld({ name }: Process): boolean {
    const { stage } = this.o;
    const own = stops[name];
    return stage.suffers(this.ordinal, "machine-stops") || (own !== undefined && stage.suffers(this.ordinal, own));
  }
  private stoppable(name: ContainerName | "machine"): Process[] {
    if (name === "machine") return this.processes;
    const process = this.serving(name)?.process;
    return process ? [process] : [];
  }

  // --- what its containers say

  private serving(name: ContainerName): Serving | undefined {
    const { elector, gate, supervisor, sidecar, exchange } = this;
    const of = (process: Process | undefined, document: () => unknown): Serving | undefined =>
      process && { process, document };
    switch (name) {
      case "elector":
        return of(elector?.process, () => elector?.document());
      case "signing-gate":
        return gate?.gate && of(gate.process, () => gate.document());
      case "supervisor":
        return of(supervisor?.process, () => supervisor?.document());
      case "sidecar":
        return of(sidecar, () => this.nodeStatus());
      case "nonce-exposer":
      case "nonce-importer":
        return of(exchange, () => allNonces);
    }
  }

  private nodeStatus(): SidecarStatus {
    const { node, o } = this;
    const { head } = node;
    const ageSeconds = head ? (o.stage.world.now - head.atMs) / 1000 : 0;
    const ready = node.answers && head !== undefined && ageSeconds <= o.stage.file.headMaxAgeSeconds;
    return {
      ...{ live: true, liveReason: "", ready, reason: ready ? "" : "not ready", connections: 10 },
      head:
        (node.answers &&
          head && {
            ...{ level: head.level, round: head.round, hash: head.payload, ageSeconds },
            timestamp: secondsTime(worldBeganMs + head.atMs),
          }) ||
        null,
      ...{ chainId, syncState: "synced", missedAttestations: node.missed },
    };
  }

  // --- octez-baker

  hear(head: Head): void {
    this.run?.onHead(head);
    this.documents.changed("sidecar");
  }
  /** Asks this pod's gate; nobody hears of it where the gate does not run. */
  ask(from: Process, address: string, bytes: Uint8Array, heard: (answer: GateAnswer) => void): void {
    const { world, counts } = this.o.stage;
    counts.requests++;
    this.asked = [...this.asked.slice(-9), { address, bytes }];
    world.after(world.between(0.1, 1), () => {
      const { gate } = this;
      gate?.process.deliver(() => {
        void gate.gate?.sign(address, bytes).then((answer) => from.later(world.between(0.1, 1), () => heard(answer)));
      });
    });
  }
}
