/**
 * `npm run baker -- COMMAND`, also `kubectl tezos-baker COMMAND`: who signs, and if nobody, why; the planned switchover; the drill.
 * Exit codes: 0 all is well, 1 nobody signs surely (or an objection, or a failed check), 2 usage, 3 the cluster was not reached or refused.
 */
import { Command, InvalidArgumentError, Option } from "commander";
import { defaultTimings } from "../contract/timings";
import { ClusterError, type Cluster } from "./cockpit/cluster";
import { connectCluster } from "./cockpit/connect";
import { doctor } from "./cockpit/doctor";
import { renderReceipt, renderStatus, table } from "./cockpit/render";
import { drill, performSwitchover, planSwitchover } from "./cockpit/switchover";
import { diagnose, readView, type ViewOptions } from "./cockpit/view";

interface Common {
  baker?: string;
  context?: string;
  kubeconfig?: string;
  namespace: string;
  json?: boolean;
}

const seconds = (text: string): number => {
  const value = Number(text);
  if (!Number.isFinite(value) || value <= 0) throw new InvalidArgumentError(`a number of seconds above 0, got "${text}"`);
  return value;
};
const options: ViewOptions = {
  now: () => Date.now(),
  sleep: (ms) => new Promise((done) => setTimeout(done, ms)),
  memberMaxAgeSeconds: defaultTimings.memberMaxAgeSeconds,
};
const print = (json: boolean | undefined, value: unknown, text: () => string): void => console.log(json ? JSON.stringify(value) : text());

/** The baker that --baker names, or the only one of the namespace. */
async function bakerName(cluster: Cluster, common: Common): Promise<string> {
  if (common.baker !== undefined) return common.baker;
  const names = [...new Set((await cluster.pods("baker")).map((pod) => pod.metadata.labels["baker"] ?? ""))]
    .filter((name) => name !== "")
    .sort();
  if (names.length === 1 && names[0] !== undefined) return names[0];
  throw new Error(
    names.length === 0
      ? `namespace ${cluster.namespace} has no baking pod: check --namespace and --context`
      : `--baker names one of ${names.join(", ")}: there are ${names.length}`,
  );
}

const program = new Command("baker")
  .description("Status, switchover and checks of a Tezos baker in active-standby mode.")
  .showHelpAfterError()
  .exitOverride();
const command = (name: string, text: string): Command =>
  program
    .command(name)
    .description(text)
    .option("--baker <name>", "the baker (default: the only one of the namespace)")
    .option("--context <name>", "context of the kubeconfig")
    .option("--kubeconfig <file>", "kubeconfig (default: KUBECONFIG or ~/.kube/config)")
    .option("--namespace <name>", "namespace of the bakers", "tezos")
    .option("--json", "print one JSON object");
const connected = async (common: Common): Promise<{ cluster: Cluster; baker: string }> => {
  const cluster = connectCluster(common);
  return { cluster, baker: await bakerName(cluster, common) };
};

command("status", "who signs, and if nobody, why")
  .option("--watch", "again every two seconds until Ctrl-C")
  .action(async (common: Common & { watch?: boolean }) => {
    const { cluster, baker } = await connected(common);
    for (;;) {
      const view = await readView(cluster, baker, options);
      const diagnosis = diagnose(view);
      print(common.json, { ...view, diagnosis }, () => `${common.watch ? "\u001b[2J\u001b[H" : ""}${renderStatus(view)}`);
      process.exitCode = diagnosis.signing ? 0 : 1;
      if (!common.watch) return;
      await options.sleep(2000);
    }
  });

command("switchover", "hand the mastership to another member (prints the plan; --yes does it)")
  .option("--to <pod>", "the member (default: the eligible one with the highest head)")
  .option("--yes", "do it")
  .option("--force", "do it although something speaks against it")
  .option("--timeout <seconds>", "how long to wait for the takeover", seconds, 90)
  .action(async (common: Common & { to?: string; yes?: boolean; force?: boolean; timeout: number }) => {
    const { cluster, baker } = await connected(common);
    const plan = planSwitchover(await readView(cluster, baker, options), common.to);
    const lines = [
      `${plan.from || "nobody"} -> ${plan.to}`,
      ...plan.steps.map((step, i) => `  ${i + 1}. ${step}`),
      ...plan.objections.map((objection) => `  against it: ${objection}`),
    ];
    if (!common.yes) {
      print(common.json, { plan }, () => [...lines, "", "Nothing was changed. Add --yes to do it."].join("\n"));
      process.exitCode = plan.objections.length > 0 ? 1 : 0;
      return;
    }
    if (plan.objections.length > 0 && !common.force) {
      print(common.json, { plan }, () => [...lines, "", "Not done: something speaks against it. --force does it all the same."].join("\n"));
      process.exitCode = 1;
      return;
    }
    const receipt = await performSwitchover(cluster, plan, baker, {
      ...options,
      timeoutSeconds: common.timeout,
      progress: (line) => console.error(line),
    });
    print(common.json, { plan, receipt }, () => (receipt ? renderReceipt(receipt) : `${plan.to} holds; no receipt was written`));
  });

command("drill", "every check and request of a switchover, timed, without giving up the lease").action(async (common: Common) => {
  const { cluster, baker } = await connected(common);
  const steps = await drill(cluster, await readView(cluster, baker, options), { nowMs: () => Number(process.hrtime.bigint()) / 1e6 });
  print(common.json, { steps }, () =>
    table(
      ["STEP", "RESULT", "TIME", ""],
      steps.map((step) => [step.name, step.ok ? "ok" : "FAILED", `${step.milliseconds.toFixed(1)} ms`, step.text]),
    ),
  );
  process.exitCode = steps.every((step) => step.ok) ? 0 : 1;
});

command("history", "the receipts of the last transitions, newest first").action(async (common: Common) => {
  const { cluster, baker } = await connected(common);
  const { receipts } = await readView(cluster, baker, options);
  print(common.json, { receipts }, () => (receipts.length > 0 ? receipts.map(renderReceipt).join("\n\n") : "no transition yet"));
});

command("doctor", "checks every hop from this machine to the signer, each with its remedy").action(async (common: Common) => {
  const cluster = connectCluster(common);
  let baker = common.baker;
  if (baker === undefined) {
    try {
      baker = await bakerName(cluster, common);
    } catch (error) {
      if (!(error instanceof ClusterError)) throw error;
      baker = "";
    }
  }
  const name = baker;
  const checks = await doctor(cluster, name, () => readView(cluster, name, options));
  print(common.json, { checks }, () =>
    checks
      .map(
        (check) =>
          `${check.state.padEnd(8)} ${check.name}: ${check.text}${check.state !== "ok" && check.remedy ? `\n         -> ${check.remedy}` : ""}`,
      )
      .join("\n"),
  );
  process.exitCode = checks.some((check) => check.state === "failed") ? 1 : 0;
});

// The two exchanges have commands of their own; here they are at hand under one name.
for (const [name, text] of [
  ["watermark", "show or raise the watermarks (see `npm run watermark`)"],
  ["nonces", "export, import or move nonces (see `npm run nonces`)"],
] as const) {
  program
    .command(name)
    .description(text)
    .allowUnknownOption()
    .helpOption(false)
    .argument("[args...]")
    .action(async (args: string[]) => {
      const { spawnSync } = await import("node:child_process");
      const { join } = await import("node:path");
      const at = process.argv.indexOf(name);
      const rest = at < 0 ? args : process.argv.slice(at + 1);
      process.exitCode =
        spawnSync(process.execPath, ["--import", "tsx", join(__dirname, `${name}.ts`), ...rest], { stdio: "inherit" }).status ?? 1;
    });
}
program.addOption(new Option("--no-color").hideHelp());

program.parseAsync(process.argv).catch((error: unknown) => {
  const code = (error as { code?: string }).code ?? "";
  if (code === "commander.helpDisplayed" || code === "commander.help" || code === "commander.version") {
    process.exitCode = code === "commander.help" ? 2 : 0;
    return;
  }
  if (code.startsWith("commander.")) {
    process.exitCode = 2;
    return;
  }
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = error instanceof ClusterError ? 3 : 2;
});
