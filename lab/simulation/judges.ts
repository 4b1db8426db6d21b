/** The judges besides the checker: S4, and that a healed baker signs. */
import type { SimulatedChain } from "./chain";
import type { SimulatedPod } from "./pod";
import type { Stage } from "./stage";

export interface Finding {
  code: string;
  atMs: number;
  text: string;
}

/** A supervisor that goes on after a stop kills its daemons at once; a kill takes a moment. */
const afterStopMs = 100;

/**
 * S4: the daemons of at most one pod run. It presupposes that processes are scheduled: the daemons of a supervisor that
 * is stopped, or was until a moment ago, do not count.
 */
export class OverlapJudge {
  readonly findings: Finding[] = [];

  constructor(
    private readonly stage: Stage,
    private readonly pods: readonly SimulatedPod[],
  ) {}

  look(): void {
    this.judge();
    this.stage.world.after(afterStopMs + 1, () => this.judge());
  }
  private judge(): void {
    const { now } = this.stage.world;
    const running = this.pods.filter(({ run, supervisor }) => {
      const parent = supervisor?.process;
      return run?.process.alive && parent?.alive && !parent.stopped && now - parent.resumedAtMs >= afterStopMs;
    });
    if (running.length < 2) return;
    const names = running.map(({ name }) => name).join(" and ");
    this.findings.push({ code: "S4", atMs: now, text: `octez-baker runs in ${names} at the same time` });
  }
}

/** So many levels in a row without a miss after the last fault: the baker is well. */
const wellAfterLevels = 3;

/** Waits until the baker is well. @returns after how long; null where it is not within `boundMs` */
export async function timeToHeal({ world }: Stage, chain: SimulatedChain, boundMs: number): Promise<number | null> {
  const beganMs = world.now;
  for (;;) {
    const last = chain.missed.at(-1);
    const from = Math.max(chain.levelAt(beganMs), (last?.level ?? 0) + 1);
    // The first level that was not missed any more began so long after the last fault.
    if (chain.head.level >= from + wellAfterLevels) return Math.max(0, chain.beganMs(from) - beganMs);
    if (world.now - beganMs > boundMs) return null;
    await world.run(world.now + 500);
  }
}
