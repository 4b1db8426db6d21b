/**
 * `npm run baker -- pause [--for 2h] [--reason TEXT]` and `resume`: while somebody works on a node or a DAL node, the
 * tenure does not move because another one is better. Whatever makes it impossible to sign still moves it.
 */
import { InvalidArgumentError, type Command } from "commander";
import { maxPauseReason, maxPauseSeconds, readPause, writePause, type HandoverPause } from "../contract/handover-pause";
import { annotations, leaderLeaseName } from "../contract/names";
import { pauseText } from "../diagnosis/pause";
import { UsageError } from "./cluster";
import { writeLeaderNotes } from "./leader-notes";
import { jsonCommand, type Common } from "./options";
import type { Session } from "./session";
import { hanging } from "./text";
import { readView } from "./view";

const unitSeconds: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600 };
const durationRule = "a duration is a number with s, m or h, above 0 and at most 24h, for instance 90m or 2h";

/** @returns seconds */
export function plainDuration(text: string): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?)([smh])$/.exec(text) ?? [];
  const seconds = Number(number) * (unitSeconds[unit ?? ""] ?? NaN);
  if (!(seconds > 0 && seconds <= maxPauseSeconds)) throw new InvalidArgumentError(`${durationRule}; got "${text}"`);
  return seconds;
}
const plainReason = (text: string): string => {
  if (text.length > maxPauseReason)
    throw new InvalidArgumentError(`a reason has at most ${maxPauseReason} characters; got ${text.length}`);
  return text;
};

interface PauseOptions extends Common {
  for: number;
  reason: string;
}

async function pause(session: Session, options: PauseOptions): Promise<void> {
  const { cluster, baker } = await session.connected(options);
  const view = await readView(cluster, baker, session.time);
  if (view.topology === "solo")
    throw new UsageError(`a pause needs the active-standby topology; ${baker} is solo and never hands over`);
  const paused: HandoverPause = { untilMs: session.time.now() + options.for * 1000, reason: options.reason };
  const note = { [annotations.handoverPause]: writePause(paused) };
  await writeLeaderNotes(cluster, leaderLeaseName(baker), note, session.time);
  session.print(options.json, { paused }, () =>
    [
      hanging("", pauseText(paused, session.time.now())),
      "Still moved: a lost lease, a master that cannot bake, `switchover`, a pod that ends.",
      "`npm run baker -- resume` ends it before.",
    ].join("\n"),
  );
}

async function resume(session: Session, options: Common): Promise<void> {
  const { cluster, baker } = await session.connected(options);
  const note = { [annotations.handoverPause]: "" };
  const before = await writeLeaderNotes(cluster, leaderLeaseName(baker), note, session.time);
  const ended = readPause(before.metadata.annotations[annotations.handoverPause]);
  const running = ended && ended.untilMs > session.time.now();
  session.print(options.json, { ended: running ? ended : null }, () =>
    running ? "automatic handovers go on" : "nothing was paused: automatic handovers go on",
  );
}

export function addPause(program: Command, session: Session): void {
  jsonCommand(program, "pause", "no automatic handover because another member is better, for some time")
    .option("--for <duration>", "how long, at most 24h", plainDuration, 3600)
    .option("--reason <text>", "why; `status` shows it", plainReason, "")
    .action((options: PauseOptions) => pause(session, options));
  jsonCommand(program, "resume", "ends a pause of automatic handovers").action((common: Common) =>
    resume(session, common),
  );
}
