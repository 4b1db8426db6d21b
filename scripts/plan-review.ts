/** Reads the plans that `cdktf diff` has left in the folders of the stacks, and reviews them. */
import { spawn } from "node:child_process";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { terraformBinary } from "../configuration/terraform-version";
import type { Stack, Stacks } from "./blocks";
import { review, type Plan, type Review } from "./review";

/** @throws Error with Terraform's own words */
async function showPlan(folder: string): Promise<Plan> {
  const program = terraformBinary();
  const child = spawn(program, ["show", "-json", "plan"], {
    cwd: folder,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, CHECKPOINT_DISABLE: "1" },
  });
  let [output, errors] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (errors += text));
  const code = await new Promise<number | null>((done, fail) => child.once("error", fail).once("close", done));
  if (code !== 0) throw new Error(`${program} show ended with ${code}: ${errors.trim()}`);
  return JSON.parse(output) as Plan;
}

/**
 * @param outdir cdktf.out
 * @param stacks those that were planned, in their order
 * @param sinceMs milliseconds since 1970: an older plan is not the one that was just made
 * @param ours whether the cluster is made, and paid for, by the stack platform
 * @returns undefined where a plan was not left here, as with a plan that ran in HCP Terraform
 */
export async function reviewPlans(
  outdir: string,
  stacks: readonly string[],
  sinceMs: number,
  ours: boolean,
): Promise<Review | undefined> {
  const plans: Record<string, Plan> = {};
  const synthesized: Record<string, Stack> = {};
  for (const stack of stacks) {
    const folder = join(outdir, "stacks", stack);
    const madeMs = statSync(join(folder, "plan"), { throwIfNoEntry: false })?.mtimeMs;
    if (madeMs === undefined || madeMs < sinceMs) return undefined;
    plans[stack] = await showPlan(folder);
    synthesized[stack] = JSON.parse(readFileSync(join(folder, "cdk.tf.json"), "utf8")) as Stack;
  }
  return review(plans, ours ? (synthesized as Stacks) : undefined);
}
