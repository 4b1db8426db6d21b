/** The commands `switchover` and `drill`. */
import type { Command } from "commander";
import { jsonCommand, plainSeconds, type Common } from "./options";
import { renderReceipt } from "./render";
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
}

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
  const interrupted = new AbortController();
  const interrupt = (): void => interrupted.abort();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, interrupt);
  const receipt = await performSwitchover(cluster, plan, baker, {
    ...session.time,
    timeoutSeconds: options.timeout,
    interrupted: interrupted.signal,
    progress: (line) => session.err(`${line}\n`),
  }).finally(() => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.off(signal, interrupt);
  });
  session.print(options.json, { plan, receipt }, () =>
    receipt ? renderReceipt(receipt) : `${plan.to} holds; no receipt was written`,
  );
}

export function addSwitchover(program: Command, session: Session): void {
  jsonCommand(program, "switchover", "hand the mastership to another member (prints the plan; --yes does it)")
    .option("--to <pod>", "the member (default: the eligible one that is up with the chain, its DAL node well)")
    .option("--yes", "do it")
    .option("--cancel", "take a wish back that was not honoured yet")
    .option("--force", "do it although something speaks against it")
    .option("--timeout <seconds>", "how long to wait for the takeover", plainSeconds, 90)
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
