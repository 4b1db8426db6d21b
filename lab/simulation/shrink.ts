/** Makes the plan of a failing seed smaller: fewer faults, and shorter ones, as long as the same is found. */
import type { Fault } from "./faults";
import { simulate, type SimulationOptions, type SimulationResult } from "./simulate";

/** @returns the result with the smallest plan that was found; `result` itself where nothing can be left out */
export async function shrink(options: SimulationOptions, result: SimulationResult): Promise<SimulationResult> {
  const [first] = result.findings;
  let best = result;
  const isStill = async (plan: readonly Fault[]): Promise<boolean> => {
    const tried = await simulate({ ...options, plan });
    const found = tried.findings.some(({ code }) => code === first?.code);
    if (found) best = tried;
    return found;
  };
  for (let size = Math.ceil(best.plan.length / 2); size >= 1; size = Math.floor(size / 2))
    for (let from = 0; from < best.plan.length;) {
      const { plan } = best;
      if (!(await isStill([...plan.slice(0, from), ...plan.slice(from + size)]))) from += size;
    }
  for (let at = 0; at < best.plan.length; at++)
    for (let tries = 0; tries < 6; tries++) {
      const { plan } = best;
      const shorter = plan.map((fault, i) => (i === at ? { ...fault, forMs: Math.round(fault.forMs / 2) } : fault));
      if ((plan[at]?.forMs ?? 0) < 200 || !(await isStill(shorter))) break;
    }
  return best;
}
