/** The commands `switchover` and `drill`. */
import type { Command } from "commander";
import { firstAttestationLevel } from "../contract/receipt";
import type { Cluster } from "./cluster";
import { jsonCommand, plainSeconds, type Common } from "./options";
import { renderReceipt } from "./render";
import { plainLevels, renderRewards, rewardsSentence, usualLevels, watchRewards, type Rewards } from "./rewards";
import type { Session } from "./session";
import { cancelSwitchover, drill, performSwitchover, planSwitchover, type SwitchoverPlan } from "./switchover";
import { table } from "./text";
import { readView } from "./view";

interface SwitchoverOptions extends Common {
  to?: string;
  yes?: boolean;
  cancel?: boolean;
  force?: boolean;
  timeout: number;
  watchRewards?: number | boolean;
}

/** @param explicit somebody asked for the watch, so that the exit code says how it ended */
export function exitCodeOf(rewards: Rewards | null, explicit: boolean, since: string): number {
  const unseen = !rewards || (rewards.levels.length === 0 && rewards.ended === "interrupted");
  // The switchover succeeded, and nothing that was seen says otherwise.
  if (unseen) return explicit ? 1 : 0;
  return rewardsSentence(rewards, since).well ? 0 : 1;
}
/** Where nothing was said, a person is shown that rewards go on, and a script does not wait. */
export const levelsToWatch = (
  terminal: boolean,
  { watchRewards: wanted, json }: Pick<SwitchoverOptions, "watchRewards" | "json">,
): number => (typeof wanted === "number" ? wanted : (wanted ?? (terminal && !json)) ? usualLevels : 0);

const planLines = (plan: SwitchoverPlan): string[] => [
  `${plan.from || "nobody"} -> ${plan.to}`,
  ...plan.steps.map((step, i) => `  ${i + 1}. ${step}`),
  ...plan.objections.map((objection) => `  against it: ${objection}`),
];

async function switchover(session: Session, options: SwitchoverOptions): Promise<void> {
  const { cluster, baker } = await session.connected(options);
  if (options.cancel) {
    const cancelled = await cancelSwitchover(cluster, baker, session.time);
    return session.print(options.json, { cancelled }, () =>
      cancelled === "" ? "no switchover was wished for" : `the wish for ${cancelled} was taken back`,
    );
  }
  const plan = planSwitchover(await readView(cluster, baker, session.time), options.to);
  const objected = plan.objections.length > 0;
  if (!options.yes || (objected && !options.force)) {
    const end = options.yes
      ? "Not done: something speaks against it. --force does it all the same."
      : "Nothing was changed. Add --yes to do it.";
    session.print(options.json, { plan }, () => [...planLines(plan), "", end].join("\n"));
    session.exitCode = objected ? 1 : 0;
    return;
  }
  await session.interruptible((interrupted) => carryOut(session, { cluster, baker, plan, options, interrupted }));
}

interface Carried {
  cluster: Cluster;
  baker: string;
  plan: SwitchoverPlan;
  options: SwitchoverOptions;
  interrupted: AbortSignal;
}
/** The switchover, and the watch after it. */
async function carryOut(session: Session, { cluster, baker, plan, options, interrupted }: Carried): Promise<void> {
  const common = { ...session.time, interrupted, progress: (line: string) => session.err(`${line}\n`) };
  const receipt = await performSwitchover(cluster, plan, baker, { ...common, timeoutSeconds: options.timeout });
  const shown = (): string => (receipt ? renderReceipt(receipt) : `${plan.to} holds; no receipt was written`);
  const levels = interrupted.aborted ? 0 : levelsToWatch(session.terminal, options);
  if (levels === 0) return session.print(options.json, { plan, receipt }, shown);
  const from = receipt && firstAttestationLevel(receipt);
  const since = from === undefined ? "since the switchover" : "since the new master's first attestation";
  // Whoever reads it need not wait for the watch.
  if (!options.json) session.out(`${shown()}\n`);
  const rewards = await watchRewards(cluster, baker, { ...common, levels, from }).catch((error: unknown) => {
    common.progress(`whether rewards go on is not known: ${error instanceof Error ? error.message : String(error)}`);
    return null;
  });
  if (options.json) session.print(true, { plan, receipt, rewards }, shown);
  else if (rewards) session.out(`${renderRewards(rewards, since)}\n`);
  session.exitCode = exitCodeOf(rewards, Boolean(options.watchRewards), since);
}

export function addSwitchover(program: Command, session: Session): void {
  jsonCommand(program, "switchover", "hand the mastership to another member (prints the plan; --yes does it)")
    .option("--to <pod>", "the member (default: the eligible one that is up with the chain, its DAL node well)")
    .option("--yes", "do it")
    .option("--cancel", "take a wish back that was not honoured yet")
    .option("--force", "do it although something speaks against it")
    .option("--timeout <seconds>", "how long to wait for the takeover", plainSeconds, 90)
    .option(
      "--watch-rewards [levels]",
      `then watch so many levels on the chain, and say whether rewards go on (default: ${usualLevels} on a terminal)`,
      plainLevels,
    )
    .option("--no-watch-rewards", "end with the receipt")
    .action((options: SwitchoverOptions) => switchover(session, options));

  const text = "every check and request of a switchover, timed, without giving up the lease";
  jsonCommand(program, "drill", text).action(async (common: Common) => {
    const { cluster, baker } = await session.connected(common);
    const steps = await drill(cluster, await readView(cluster, baker, session.time), {
      nowMs: () => Number(process.hrtime.bigint()) / 1e6,
    });
    session.print(common.json, { steps }, () =>
      table(
        ["STEP", "RESULT", "TIME", ""],
        steps.map((step) => [step.name, step.ok ? "ok" : "FAILED", `${step.milliseconds.toFixed(1)} ms`, step.text]),
      ),
    );
    session.exitCode = steps.every((step) => step.ok) ? 0 : 1;
  });
}
