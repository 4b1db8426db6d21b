/**
 * One simulation: the real code of elector, signing gate and supervisor of two pods in this process, on virtual time.
 * Everything follows from the seed. The verdict is the checker's, that of S4, and that a healed baker signs.
 */
import { check } from "../checker/checker";
import { Promises } from "../checker/schedules/promises";
import { SimulatedSigners } from "../checker/schedules/signers";
import { Acting } from "./acting";
import { SimulatedChain } from "./chain";
import { endOf, planOf, type Fault } from "./faults";
import { OverlapJudge, timeToHeal, type Finding } from "./judges";
import { SimulatedKube } from "./kube-api";
import { SimulatedPod } from "./pod";
import type { Process } from "./process";
import type { Sabotage } from "./sabotage";
import { podCount, Stage, type Line } from "./stage";
import { installVirtualTimers } from "./virtual-timers";

export interface SimulationOptions {
  seed: number;
  /** @default what the seed draws */
  plan?: readonly Fault[];
  sabotage?: Sabotage;
  /**
   * How long after the last fault the baker may need until it is well.
   * @default 180,000
   */
  healMs?: number;
}
export interface SimulationResult {
  seed: number;
  plan: readonly Fault[];
  findings: Finding[];
  /** After how long the baker was well again; null where it was not. */
  healedMs: number | null;
  virtualMs: number;
  missedLevels: number;
  levels: number;
  counts: Stage["counts"] & { events: number; blocksBaked: number; blocksMissed: number };
  story: readonly Line[];
}

/** A baker without faults has its first tenure and is well by then. */
const settledMs = 30_000;

function signersOf(stage: Stage): SimulatedSigners<Process> {
  return new SimulatedSigners<Process>(
    {
      ...{ world: stage.world, signedLog: stage.signedLog, timings: stage.file.timings, sabotage: undefined },
      features: { deterministic: stage.deterministic },
      get faults() {
        return stage.has("signers-bad");
      },
    },
    () => undefined,
  );
}

async function play(stage: Stage, options: SimulationOptions, plan: readonly Fault[]): Promise<SimulationResult> {
  const { seed, healMs = 180_000 } = options;
  const { world } = stage;
  const kube = new SimulatedKube(stage);
  const pods: SimulatedPod[] = [];
  const chain = new SimulatedChain(stage, seed, {
    turn: (turn) => pods.forEach(({ run }) => run?.onTurn(turn)),
    head: (pod, head) => pods[pod]?.hear(head),
  });
  const promises = new Promises();
  const surroundings = { stage, kube, chain, signers: signersOf(stage), promises };
  const overlap = new OverlapJudge(stage, pods);
  for (let ordinal = 0; ordinal < podCount; ordinal++)
    pods.push(new SimulatedPod(ordinal, surroundings, () => overlap.look()));
  const acting = new Acting(stage, pods, kube, chain, promises);
  acting.createWatermarks();
  for (const pod of pods) world.after(world.between(0, 3000), () => acting.start(pod));
  acting.schedule(plan);
  await world.run(Math.max(settledMs, ...plan.map(endOf)));
  while (acting.isBusy) await world.run(world.now + 100);
  const healedMs = await timeToHeal(stage, chain, healMs);
  const text = `the baker is not well ${healMs / 1000} s after the last fault`;
  const stuck = healedMs === null ? [{ code: "liveness", atMs: world.now, text }] : [];
  const violations = check(stage.signedLog, stage.commitLog, {
    floorPassAfter: stage.file.timings.floorPassSeconds * 1000 * 0.99,
  });
  const findings = [
    ...violations.map(({ code, at, text: what }) => ({ code, atMs: at, text: what })),
    ...overlap.findings,
    ...stuck,
  ];
  return {
    ...{ seed, plan, findings, healedMs, virtualMs: world.now, story: stage.story },
    missedLevels: chain.missed.filter(({ atMs }) => atMs > settledMs).length,
    levels: chain.head.level - 1000,
    counts: {
      ...stage.counts,
      ...{ events: world.happened, blocksBaked: chain.blocksBaked, blocksMissed: chain.blocksMissed },
    },
  };
}

export async function simulate(options: SimulationOptions): Promise<SimulationResult> {
  const plan = options.plan ?? planOf(options.seed, podCount);
  const stage = new Stage(options.seed, options.sabotage);
  const putBack = installVirtualTimers(stage.world);
  try {
    return await play(stage, options, plan);
  } catch (error) {
    throw new Error(`seed ${options.seed}: ${String(error)}`, { cause: error });
  } finally {
    putBack();
  }
}
