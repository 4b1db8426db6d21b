/**
 * The operator's commands: who signs, and if nobody, why; the planned switchover; the drill.
 * Exit codes: 0 all is well, 1 it is not certain that somebody signs (or an objection, or a failed
 * check), 2 usage, 3 the cluster was not
 * reached or refused.
 */
import { Command, CommanderError } from "commander";
import { diagnose } from "../diagnosis/diagnose";
import { missedSlotsOf } from "../diagnosis/missed-slots";
import { ClusterError, UsageError, type Cluster } from "./cluster";
import { askPods, doctor, type Check } from "./doctor";
import { addImport } from "./import";
import { addKeys } from "./keys";
import { addNonces } from "./nonces";
import { jsonCommand, plainSeconds, type Common } from "./options";
import { addPause } from "./pause";
import { acquiredAt, renderHistory, renderStatus } from "./render";
import { addReport } from "./report";
import { addRewards } from "./rewards";
import { hanging, remedyLines } from "./text";
import { NoBaker, Session, type CockpitIo } from "./session";
import { addSwitchover } from "./switchover-command";
import { addTestAlert } from "./test-alert";
import { readView } from "./view";
import { addWatermark } from "./watermark";

interface StatusOptions extends Common {
  watch?: number | true;
}
/** What it means for the baker that the API does not answer this machine; other errors as they are. */
function unanswered(error: unknown, cluster: Cluster | undefined): unknown {
  if (!(error instanceof ClusterError) || error.kind !== "unreachable" || !cluster) return error;
  const meaning =
    "If only this machine is cut off, the baker signs on. If the pods do not reach the API either, nothing is signed " +
    "until it answers again, and nothing is signed twice.";
  const where = `context ${cluster.context}, server ${cluster.server}: ${error.message}`;
  return new ClusterError("unreachable", `${hanging("", where)}\n${hanging("", meaning)}`);
}
async function status(session: Session, options: StatusOptions): Promise<void> {
  const { watch, json } = options;
  const wipe = (): void => {
    if (watch !== undefined && !json) session.clearScreen();
  };
  /** So that a screen that stands still is seen to. */
  const clock = (): string =>
    watch === undefined ? "" : `${new Date(session.time.now()).toISOString().slice(11, 19)} UTC\n`;
  const look = async (): Promise<void> => {
    const { cluster, baker } = await session.connected(options);
    const view = await readView(cluster, baker, session.time);
    const diagnosis = diagnose(view);
    wipe();
    session.print(json, { ...view, diagnosis }, () => clock() + renderStatus(view));
    session.exitCode = diagnosis.signing ? 0 : 1;
  };
  const lookOrSay = (): Promise<void> =>
    look().catch((error: unknown) => {
      throw unanswered(error, session.cluster);
    });
  if (watch === undefined) return lookOrSay();
  // A kubeconfig that cannot be used does not get better by waiting.
  await session.connect(options);
  for (;;) {
    try {
      await lookOrSay();
    } catch (error) {
      // Worth waiting for: the cluster comes back.
      if (!(error instanceof ClusterError)) throw error;
      wipe();
      session.print(json, { error: error.message }, () => clock() + error.message);
      session.exitCode = 3;
    }
    await session.time.sleep(watch === true ? 2000 : watch * 1000);
  }
}

async function history(session: Session, common: Common): Promise<void> {
  const { cluster, baker } = await session.connected(common);
  const view = await readView(cluster, baker, session.time);
  const receipts = view.receipts.map((receipt) => ({ acquiredAt: acquiredAt(receipt), ...receipt }));
  session.print(common.json, { receipts, missedSlots: missedSlotsOf(view) }, () => renderHistory(view));
}

const renderCheck = ({ name, state, text, remedy }: Check): string =>
  [
    hanging(`${state.padEnd(8)} `, `${name}: ${text}`),
    ...(state !== "ok" && remedy !== "" ? [remedyLines("      -> ", remedy)] : []),
  ].join("\n");
async function examine(session: Session, common: Common): Promise<void> {
  // Without a baker the checks say why, one by one.
  const baker =
    common.baker ??
    (await session.connected(common).then(
      (connected) => connected.baker,
      (error: unknown) => {
        if (error instanceof ClusterError || error instanceof NoBaker) return "";
        throw error;
      },
    ));
  const cluster = await session.connect(common);
  const view = () => readView(cluster, baker, session.time);
  const checks = await doctor(cluster, view, askPods(cluster, baker));
  session.print(common.json, { checks }, () => checks.map(renderCheck).join("\n"));
  session.exitCode = checks.some((check) => check.state === "failed") ? 1 : 0;
}

function commands(session: Session): Command {
  const program = new Command("baker")
    .description("Status, switchover and checks of a Tezos baker in active-standby mode.")
    .showHelpAfterError("--help after a command lists its options, and without one the commands.")
    .exitOverride()
    .configureOutput({ writeOut: session.out, writeErr: session.err });
  jsonCommand(program, "status", "who signs, and if nobody, why")
    .option("--watch [seconds]", "again and again until Ctrl-C, every two seconds or as often as given", plainSeconds)
    .action((options: StatusOptions) => status(session, options));
  addSwitchover(program, session);
  addPause(program, session);
  jsonCommand(program, "history", "the receipts of the last transitions, and the slots that were missed").action(
    (common: Common) => history(session, common),
  );
  addRewards(program, session);
  jsonCommand(program, "doctor", "checks every hop from this machine to the signer, each with its remedy").action(
    (common: Common) => examine(session, common),
  );
  addKeys(program, session);
  addWatermark(program, session);
  addNonces(program, session);
  addImport(program, session);
  addReport(program, session);
  addTestAlert(program, session);
  return program;
}

/** @param argv the words after the program's name @returns the exit code */
export async function cockpit(argv: readonly string[], io: CockpitIo): Promise<number> {
  const session = new Session(io);
  try {
    await commands(session).parseAsync([...argv], { from: "user" });
    return session.exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 && error.code !== "commander.help" ? 0 : 2;
    session.err(`${error instanceof Error ? error.message : String(error)}\n`);
    return error instanceof ClusterError ? 3 : error instanceof UsageError ? 2 : 1;
  }
}
