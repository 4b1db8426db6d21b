/** The supervisor's own code in a simulated pod; its child is a simulated octez-baker. */
import type { ChildProcess } from "node:child_process";
import type { Leadership } from "../../contract/leadership";
import type { GateStatus, SidecarStatus, SupervisorStatus } from "../../contract/status";
import { toldBy } from "../../daemons/baker-supervisor/hang";
import { Supervisor } from "../../daemons/baker-supervisor/supervisor";
import { repeat } from "../../daemons/runtime/repeat";
import { sleep } from "../../daemons/runtime/clock";
import type { BakerRun } from "./baker-run";
import { storyLog, type PodParts } from "./containers";
import type { Process } from "./process";

export class SupervisorContainer {
  readonly supervisor: Supervisor;
  private readonly over = new AbortController();
  private announced = "";
  private status: SupervisorStatus | undefined;
  private heard: Leadership | undefined;

  /** Called in the turn of `process`. @param makeRun starts a child @param find the child with this pid */
  constructor(
    readonly process: Process,
    private readonly parts: PodParts,
    makeRun: () => BakerRun,
    find: (pid: number) => BakerRun | undefined,
  ) {
    const { stage, identity, ordinal } = parts;
    const { timings, daemons } = stage.file;
    const { signal } = this.over;
    this.supervisor = new Supervisor({
      ...{ identity, topology: "active-standby", timings, daemons, prefix: [], clock: process.clock },
      log: storyLog(parts, process),
      spawn: () => makeRun() as unknown as ChildProcess,
      kill: (pid, name) => {
        if (stage.sabotage !== "daemons-are-not-stopped") find(pid)?.signal(name);
      },
      prepare: () => sleep(stage.world.between(1, 20)),
      onChange: () => this.announce(),
    });
    // As the daemon does around it (daemon.ts): what it runs at its start, and what it looks at again and again.
    void sleep(1000 * timings.retrySeconds).then(() => {
      this.supervisor.cannotStart = undefined;
      this.announce();
    });
    void repeat(signal, 500 * timings.retrySeconds, () => this.lookAround());
    void repeat(signal, 2000 * timings.retrySeconds, () => {
      this.supervisor.clientFolderProblem = stage.suffers(ordinal, "client-folder-full") ? "ENOSPC" : undefined;
      this.announce();
    });
    if (stage.sabotage === "supervisor-ignores-the-deadline") void repeat(signal, 1000, () => this.prolong());
    this.supervisor.evaluate();
  }

  hear(record: Leadership): void {
    this.supervisor.record(record);
    this.heard = record;
  }
  /** Sabotage: the deadline of the last record never comes. */
  private prolong(): void {
    const { heard } = this;
    if (!heard || heard.validUntilNs === "0") return;
    this.supervisor.record({ ...heard, validUntilNs: String(this.process.clock.nowNs() + 5_000_000_000n) });
  }

  private async lookAround(): Promise<void> {
    if (!this.supervisor.running) return;
    const { documents, stage } = this.parts;
    const { requestTimeoutMs } = stage.file.timings;
    const [sidecar, gate] = await Promise.all([
      documents.ask(this.process, "sidecar", requestTimeoutMs),
      documents.ask(this.process, "signing-gate", requestTimeoutMs),
    ]);
    if (sidecar && gate) this.supervisor.saw(toldBy(gate as GateStatus, sidecar as SidecarStatus));
  }

  private announce(): void {
    const status = this.supervisor.status();
    const text = JSON.stringify(status);
    if (text === this.announced) return;
    this.announced = text;
    this.status = status;
    this.parts.documents.changed("supervisor");
  }

  document(): SupervisorStatus | undefined {
    return this.status;
  }

  /** SIGTERM. @param ended called when the process may end */
  terminate(ended: () => void): void {
    void this.supervisor.terminate().then(() => {
      this.over.abort();
      ended();
    });
  }
}
