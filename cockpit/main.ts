/**
 * The operator's commands: who signs, and if nobody, why; the planned switchover; the drill.
 * Exit codes: 0 all is well, 1 nobody signs surely (or an objection, or a failed check), 2 usage, 3 the cluster was not
 * reached or refused.
 */
import { Command, CommanderError } from "commander";
import { leaderLeaseName } from "../contract/names";
import { ClusterError, UsageError, type Cluster } from "./cluster";
import { doctor } from "./doctor";
import { nonces } from "./nonces";
import { bakerCommand, plainNumber, type Common } from "./options";
import { printable, renderReceipt, renderStatus, table } from "./render";
import { cancelSwitchover, drill, performSwitchover, planSwitchover } from "./switchover";
import { diagnose, readView, type ViewOptions } from "./view";
import { watermark } from "./watermark";

export interface CockpitIo {
  /** @throws ClusterError where the kubeconfig cannot be used */
  connect(options: { kubeconfig?: string; context?: string; namespace: string }): Cluster;
  out(text: string): void;
  err(text: string): void;
  /** Whether `out` is a screen that may be cleared. */
  terminal: boolean;
}
class NoBaker extends Error {}

const seconds = plainNumber(
  "seconds above 0 are written in digits, for instance 90 or 0.5",
  /^(?=.*[1-9])\d+(\.\d+)?$/,
);

const options: ViewOptions = {
  now: () => Date.now(),
  sleep: (ms) => new Promise((done) => setTimeout(done, ms)),
};

/** The baker that --baker names, or the only one of the namespace. */
async function bakerName(cluster: Cluster, common: Common): Promise<string> {
  const names = [...new Set((await cluster.pods("baker")).map((pod) => pod.metadata.labels["baker"] ?? ""))]
    .filter((name) => name !== "")
    .sort();
  if (common.baker !== undefined) {
    // One whose pods are all gone still has its lease.
    if (names.length > 0 && !names.includes(common.baker) && !(await cluster.lease(leaderLeaseName(common.baker))))
      throw new UsageError(`--baker names one of ${names.join(", ")}; got "${common.baker}"`);
    return common.baker;
  }
  if (names.length === 1 && names[0] !== undefined) return names[0];
  if (names.length > 1) throw new UsageError(`--baker names one of ${names.join(", ")}: there are ${names.length}`);
  throw new NoBaker(`namespace ${cluster.namespace} has no baking pod: check --namespace and --context`);
}

/** @param argv the words after the program's name @returns the exit code */
export async function cockpit(argv: readonly string[], to: CockpitIo): Promise<number> {
  let exitCode = 0;
  // Whatever a command prints, of the cluster's words only text gets to the terminal.
  const io: CockpitIo = {
    ...to,
    out: (text) => to.out(printable(text, "lines")),
    err: (text) => to.err(printable(text, "lines")),
  };
  /** Of a screen only: what is piped keeps every look. */
  const wipe = (common: { watch?: number | true; json?: boolean }): void => {
    if (to.terminal && common.watch !== undefined && !common.json) to.out("\u001b[2J\u001b[H");
  };
  const print = (json: boolean | undefined, value: unknown, text: () => string): void =>
    io.out(`${json ? JSON.stringify(value) : text()}\n`);
  const program = new Command("baker")
    .description("Status, switchover and checks of a Tezos baker in active-standby mode.")
    .showHelpAfterError()
    .exitOverride()
    .configureOutput({ writeOut: io.out, writeErr: io.err });
  const command = (name: string, text: string): Command =>
    bakerCommand(program, name, text).option("--json", "print one JSON object");
  const connected = async (common: Common): Promise<{ cluster: Cluster; baker: string }> => {
    const cluster = io.connect(common);
    return { cluster, baker: await bakerName(cluster, common) };
  };

  command("status", "who signs, and if nobody, why")
    .option("--watch [seconds]", "again and again until Ctrl-C, every two seconds or as often as given", seconds)
    .action(async (common: Common & { watch?: number | true }) => {
      const look = async (): Promise<void> => {
        const { cluster, baker } = await connected(common);
        const view = await readView(cluster, baker, options);
        const diagnosis = diagnose(view);
        wipe(common);
        print(common.json, { ...view, diagnosis }, () => renderStatus(view));
        exitCode = diagnosis.signing ? 0 : 1;
      };
      if (common.watch === undefined) return look();
      // A kubeconfig that cannot be used does not get better by waiting.
      io.connect(common);
      for (;;) {
        try {
          await look();
        } catch (error) {
          // Worth waiting for: the cluster comes back.
          if (!(error instanceof ClusterError)) throw error;
          wipe(common);
          print(common.json, { error: error.message }, () => error.message);
          exitCode = 3;
        }
        await options.sleep(common.watch === true ? 2000 : common.watch * 1000);
      }
    });

  command("switchover", "hand the mastership to another member (prints the plan; --yes does it)")
    .option("--to <pod>", "the member (default: the eligible one with the highest head)")
    .option("--yes", "do it")
    .option("--cancel", "take a wish back that was not honoured yet")
    .option("--force", "do it although something speaks against it")
    .option("--timeout <seconds>", "how long to wait for the takeover", seconds, 90)
    .action(
      async (common: Common & { to?: string; yes?: boolean; cancel?: boolean; force?: boolean; timeout: number }) => {
        const { cluster, baker } = await connected(common);
        if (common.cancel) {
          const cancelled = await cancelSwitchover(cluster, baker, options);
          return print(common.json, { cancelled }, () =>
            cancelled === "" ? "no switchover was wished for" : `the wish for ${cancelled} was taken back`,
          );
        }
        const view = await readView(cluster, baker, options);
        const plan = planSwitchover(view, common.to);
        const lines = [
          `${plan.from || "nobody"} -> ${plan.to}`,
          ...plan.steps.map((step, i) => `  ${i + 1}. ${step}`),
          ...plan.objections.map((objection) => `  against it: ${objection}`),
        ];
        if (!common.yes) {
          print(common.json, { plan }, () => [...lines, "", "Nothing was changed. Add --yes to do it."].join("\n"));
          exitCode = plan.objections.length > 0 ? 1 : 0;
          return;
        }
        if (plan.objections.length > 0 && !common.force) {
          print(common.json, { plan }, () =>
            [...lines, "", "Not done: something speaks against it. --force does it all the same."].join("\n"),
          );
          exitCode = 1;
          return;
        }
        const interrupted = new AbortController();
        const interrupt = (): void => interrupted.abort();
        for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, interrupt);
        const receipt = await performSwitchover(cluster, plan, baker, {
          ...options,
          timeoutSeconds: common.timeout,
          interrupted: interrupted.signal,
          progress: (line) => io.err(`${line}\n`),
        }).finally(() => {
          for (const signal of ["SIGINT", "SIGTERM"] as const) process.off(signal, interrupt);
        });
        print(common.json, { plan, receipt }, () =>
          receipt ? renderReceipt(receipt) : `${plan.to} holds; no receipt was written`,
        );
      },
    );

  command("drill", "every check and request of a switchover, timed, without giving up the lease").action(
    async (common: Common) => {
      const { cluster, baker } = await connected(common);
      const steps = await drill(cluster, await readView(cluster, baker, options), {
        nowMs: () => Number(process.hrtime.bigint()) / 1e6,
      });
      print(common.json, { steps }, () =>
        table(
          ["STEP", "RESULT", "TIME", ""],
          steps.map((step) => [step.name, step.ok ? "ok" : "FAILED", `${step.milliseconds.toFixed(1)} ms`, step.text]),
        ),
      );
      exitCode = steps.every((step) => step.ok) ? 0 : 1;
    },
  );

  command("history", "the receipts of the last transitions, newest first").action(async (common: Common) => {
    const { cluster, baker } = await connected(common);
    const { receipts } = await readView(cluster, baker, options);
    print(common.json, { receipts }, () =>
      receipts.length > 0 ? receipts.map(renderReceipt).join("\n\n") : "no transition yet",
    );
  });

  command("doctor", "checks every hop from this machine to the signer, each with its remedy").action(
    async (common: Common) => {
      const cluster = io.connect(common);
      let baker = common.baker;
      if (baker === undefined) {
        try {
          baker = await bakerName(cluster, common);
        } catch (error) {
          // The checks say it, one by one.
          if (!(error instanceof ClusterError) && !(error instanceof NoBaker)) throw error;
          baker = "";
        }
      }
      const name = baker;
      const checks = await doctor(cluster, name, () => readView(cluster, name, options));
      print(common.json, { checks }, () =>
        checks
          .map(
            (check) =>
              `${check.state.padEnd(8)} ${check.name}: ${printable(check.text)}${check.state !== "ok" && check.remedy ? `\n         -> ${printable(check.remedy)}` : ""}`,
          )
          .join("\n"),
      );
      exitCode = checks.some((check) => check.state === "failed") ? 1 : 0;
    },
  );

  program.command("watermark").description("show the watermarks, or raise a floor");
  program.command("nonces").description("export the nonces of a baker, or import them");

  const [name = "", ...rest] = argv;
  if (name === "watermark") return watermark(rest, io);
  if (name === "nonces") return nonces(rest, io);
  try {
    await program.parseAsync([...argv], { from: "user" });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.code === "commander.help" ? 2 : error.exitCode === 0 ? 0 : 2;
    io.err(`${error instanceof Error ? error.message : String(error)}\n`);
    return error instanceof ClusterError ? 3 : error instanceof UsageError ? 2 : 1;
  }
}
