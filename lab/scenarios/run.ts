/** Runs a scenario in a laboratory. */
import { inject } from "../faults/faults";
import { Lab, type LabOptions } from "../lab";
import { receiptOf, type Played, type ScenarioReceipt } from "./receipt";
import type { Scenario } from "./scenario";

/** Waits until `count` levels in a row after `level` are attested, with every slot of the DAL where it is asked for. */
async function recovered(lab: Lab, count: number, timeoutMs: number, dal = false): Promise<boolean> {
  const level = lab.chain.head.level;
  const good = () => {
    const decided = lab.chain.levels.filter((record) => record.level > level && record.attestationMissed !== null);
    return (
      decided.length >= count &&
      decided.slice(-count).every((record) => !record.attestationMissed && !record.blockMissed) &&
      (!dal || decided.slice(-count).every((record) => record.dalAttested === record.dalAttestable))
    );
  };
  try {
    await lab.until("signing goes on", good, timeoutMs);
    return true;
  } catch {
    return false;
  }
}

/** Every pod ready, one daemon signing, three levels in a row attested. @throws Error after 400 s at 6 s blocks */
export async function calm(lab: Lab): Promise<void> {
  const level = lab.chain.head.level;
  const members = lab.options.flag ? 2 : 1;
  await lab.until(
    "calm",
    () => {
      const pods = lab.cluster.bakingMembers();
      const decided = lab.chain.levels.filter((record) => record.level > level && record.attestationMissed !== null);
      return (
        pods.length === members &&
        pods.every((member) => member.pod.ready) &&
        lab.activePod() !== undefined &&
        decided.length >= 3 &&
        decided.slice(-3).every((record) => !record.attestationMissed && !record.blockMissed)
      );
    },
    Math.max(90_000, lab.scaled(400_000)),
  );
}

/** Injects the faults and ends them, each at its time, until the last has had its time to settle. */
async function play(lab: Lab, scenario: Scenario, played: Played): Promise<void> {
  const ends: { at: number; end: () => Promise<void> }[] = [];
  const clock = () => (Date.now() - played.t0) / 1000 / lab.scale;
  const steps = [...scenario.steps].sort((a, b) => a.at - b.at);
  let next = 0;
  const finish = Math.max(0, ...steps.map((step) => step.at + (step.for ?? 0))) + scenario.settle;
  while (clock() < finish) {
    const due = ends.filter((entry) => entry.at <= clock());
    for (const entry of due) {
      ends.splice(ends.indexOf(entry), 1);
      played.endedMs ??= Date.now();
      await entry.end();
    }
    const step = steps[next];
    if (step && step.at <= clock()) {
      next++;
      try {
        const end = await inject(lab, step.fault, step.args);
        if (end && step.for !== undefined) ends.push({ at: clock() + step.for, end });
      } catch (error) {
        played.problems.push(`${step.fault}: ${(error as Error).message}`);
      }
    }
    await lab.sleep(10);
  }
  for (const entry of ends) await entry.end();
}

/** Runs the steps in a running, ready laboratory. */
export async function runSteps(
  lab: Lab,
  scenario: Scenario,
  options: { phase?: number; startedInSeconds?: number } = {},
): Promise<ScenarioReceipt> {
  const { blockMs } = lab.options;
  // A moment of a level that differs from run to run.
  const phase = options.phase ?? Math.random();
  const into = () => (Date.now() - lab.chain.head.atMs) / blockMs;
  await lab
    .until("the moment", () => Math.abs(into() - phase) < 0.04 || blockMs < 300, blockMs * 3)
    .catch(() => undefined);
  const headAttested = lab.chain.levels.at(-1)?.attestedBy !== null;
  const played: Played = {
    t0: Date.now(),
    level: lab.chain.head.level - (headAttested ? 0 : 1),
    before: { epoch: lab.lease?.epoch ?? 0, pod: lab.activePod() ?? "" },
    endedMs: undefined,
    problems: [],
  };
  await play(lab, scenario, played);
  if (lab.rolling) await Promise.race([lab.rolling, lab.sleep(lab.scaled(240_000))]);
  const came = await recovered(lab, 3, Math.max(20_000, lab.scaled(150_000)));
  if (scenario.expect.recovers && !came) played.problems.push("signing did not go on");
  if (scenario.expect.dalRecovers && !(await recovered(lab, 3, Math.max(20_000, lab.scaled(60_000)), true)))
    played.problems.push("slots of the DAL are not attested again");
  return receiptOf(lab, scenario, played, options.startedInSeconds ?? 0);
}

/** Starts a laboratory for the scenario, runs it, and ends it. */
export async function runScenario(
  scenario: Scenario,
  base: Omit<LabOptions, "flag" | "signers">,
  onLab?: (lab: Lab) => void,
): Promise<ScenarioReceipt> {
  const began = performance.now();
  const lab = await Lab.start({ ...base, ...scenario.chain, flag: scenario.flag, signers: scenario.signers });
  try {
    onLab?.(lab);
    await lab.ready();
    const startedInSeconds = Number(((performance.now() - began) / 1000).toFixed(2));
    base.progress?.(`ready in ${startedInSeconds} s: ${lab.activePod() ?? "nobody"} signs`);
    // Two undisturbed levels.
    await recovered(lab, 2, Math.max(15_000, lab.scaled(60_000)));
    base.progress?.(`${scenario.name}: ${scenario.title}`);
    return await runSteps(lab, scenario, { startedInSeconds });
  } finally {
    await lab.stop();
  }
}
