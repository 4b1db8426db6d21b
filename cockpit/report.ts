/**
 * `npm run baker -- report [--out FILE]`: one archive for whoever helps, with what the cluster and the daemons say of
 * one baker, and without secrets: no Secret object is read, nonces are in no config map, and what looks like a key, a
 * token or an address of a machine is replaced.
 */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import type { Command } from "commander";
import { redact } from "../configuration/errors";
import { labels } from "../contract/names";
import { diagnose } from "../diagnosis/diagnose";
import { writeDurably } from "../daemons/runtime/durable";
import { archive, type ArchiveFile } from "./archive";
import type { Cluster } from "./cluster";
import { askPods, doctor } from "./doctor";
import { bakerCommand, type Common } from "./options";
import { renderHistory, renderStatus } from "./render";
import type { Session } from "./session";
import { readView } from "./view";

/** Of each container, and of the one that ran before it. */
const logLines = 2000;

const patterns: [pattern: RegExp, replacement: string][] = [
  [/\beyJ[\w-]{10,}\.[\w-]+\.[\w-]+/g, "(token, not shown)"],
  [/\b(bearer|basic)\s+[\w.~+/=-]{8,}/gi, "$1 (not shown)"],
  [/\/\/[^/@\s"]+:[^/@\s"]+@/g, "//(not shown)@"],
  // Who looks for help need not tell where the machines are; the same address stays recognizable by its last part.
  [/\b\d{1,3}\.\d{1,3}\.\d{1,3}\.(\d{1,3})\b/g, "x.x.x.$1"],
];
export const redacted = (text: string): string =>
  patterns.reduce((all, [pattern, replacement]) => all.replace(pattern, replacement), redact(text));

const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;
/** What cannot be had is said in its place: a report of half a cluster is worth more than none. */
async function attempt(name: string, text: () => Promise<string> | string): Promise<ArchiveFile> {
  try {
    return { name, text: redacted(await text()) };
  } catch (error) {
    return { name, text: redacted(`not available: ${error instanceof Error ? error.message : String(error)}\n`) };
  }
}

const versions = async (cluster: Cluster): Promise<string> => {
  const manifest = readFileSync(resolve(__dirname, "../package.json"), "utf8");
  return json({
    project: (JSON.parse(manifest) as { version: string }).version,
    node: process.version,
    kubernetes: await cluster.serverVersion(),
  });
};

/** Everything about one baker, already redacted. */
export async function reportFiles(cluster: Cluster, baker: string, time: Session["time"]): Promise<ArchiveFile[]> {
  const selector = `${labels.baker}=${baker}`;
  const view = await readView(cluster, baker, time);
  const files = [
    attempt("status.txt", () => `${renderStatus(view)}\n`),
    attempt("diagnosis.json", () => json(diagnose(view))),
    attempt("history.txt", () => `${renderHistory(view)}\n`),
    attempt("doctor.json", async () =>
      json(await doctor(cluster, () => Promise.resolve(view), askPods(cluster, baker))),
    ),
    attempt("versions.json", () => versions(cluster)),
    attempt("leases.json", () => json([view.lease, ...view.members.map(({ lease }) => lease)])),
    attempt("config-maps.json", async () => json(await cluster.configMaps(selector))),
    attempt("pods.json", async () => json(await cluster.pods(selector))),
    attempt("events.json", async () => json(await cluster.events())),
    ...view.pods.flatMap(({ metadata: { name }, containers }) =>
      containers.flatMap((container) => [
        attempt(`logs/${name}/${container.name}.log`, () => cluster.logs(name, container.name, logLines, false)),
        ...(container.restarts > 0
          ? [
              attempt(`logs/${name}/${container.name}.before.log`, () =>
                cluster.logs(name, container.name, logLines, true),
              ),
            ]
          : []),
      ]),
    ),
  ];
  return Promise.all(files);
}

export function addReport(program: Command, session: Session): void {
  bakerCommand(
    program,
    "report",
    "one archive for whoever helps: versions, objects, events, logs, receipts, no secrets",
  )
    .option("--out <file>", "where to write it (default: baker-report.tar.gz here)", "baker-report.tar.gz")
    .action(async (options: Common & { out: string }) => {
      const { cluster, baker } = await session.connected(options);
      const files = await reportFiles(cluster, baker, session.time);
      await writeDurably(options.out, archive(files, session.time.now()), { mode: 0o600 });
      session.out(
        `${options.out}: ${files.length} files of ${baker}. Secrets are left out and addresses of machines are hidden; addresses of keys, names of pods and levels are in it. Look through it before you send it.\n`,
      );
    });
}
