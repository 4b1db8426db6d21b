/**
 * `npm run baker -- import --from FILE...`: an existing baker moves in. Floors come from what its signer and its baker
 * have written about what they signed, nonces from its client folder. Without --yes it only shows what it understood.
 */
import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { labels, watermarkDataKey } from "../contract/names";
import { deploymentOf } from "../diagnosis/view";
import { UsageError } from "./cluster";
import { planImport, understand } from "./import-plan";
import { importIntoPods } from "./nonces";
import { jsonCommand, plainLevel, type Common } from "./options";
import type { Session } from "./session";
import { readView } from "./view";

interface ImportOptions extends Common {
  from: string[];
  head?: number;
  unsigned?: string[];
  yes?: boolean;
}

async function importFiles(session: Session, options: ImportOptions): Promise<void> {
  const { cluster, baker } = await session.connected(options);
  const files = options.from.map((path) => ({ path, text: readFileSync(path, "utf8") }));
  const maps = await cluster.configMaps(`${labels.baker}=${baker}`);
  const { file } = deploymentOf(baker, await cluster.pods(`${labels.baker}=${baker}`), maps);
  if (!file) throw new UsageError(`${baker} is not deployed: \`npm run deploy -- --only baker\` comes first`);
  const view = await readView(cluster, baker, session.time);
  const heads = view.members.flatMap(({ fresh, record }) => (fresh ? (record?.headLevel ?? []) : []));
  const plan = planImport(understand(files, file.network.chainId), {
    ...{ file, maps, unsigned: options.unsigned ?? [] },
    head: options.head ?? (heads.length > 0 ? Math.max(...heads) : undefined),
  });
  const objected = plan.objections.length > 0;
  const end = objected
    ? "Nothing was changed."
    : options.yes
      ? "Written. Now connect the signer."
      : "Nothing was changed. Add --yes to do it.";
  const floors = plan.floors.map(({ address, record }) => ({ address, floor: record.floor }));
  if (!objected && options.yes) {
    // Nonces first: floors let the first tenure begin with them.
    if (plan.nonces) session.exitCode = await importIntoPods(session, cluster, baker, JSON.stringify(plan.nonces));
    if (session.exitCode !== 0) throw new Error("the nonces are not in every pod: no floor was written; try again");
    for (const { map, record } of plan.floors)
      await cluster.writeConfigMap(map, { ...map.data, [watermarkDataKey]: JSON.stringify(record) });
  }
  // Never the nonces themselves: they are secret until they are revealed.
  session.print(options.json, { understood: plan.lines, objections: plan.objections, floors }, () =>
    [...plan.lines, ...plan.objections.map((text) => `against it: ${text}`), end].join("\n"),
  );
  session.exitCode = objected ? 1 : 0;
}

export function addImport(program: Command, session: Session): void {
  jsonCommand(program, "import", "an existing baker moves in: floors and nonces from the files of its signer and baker")
    .requiredOption(
      "--from <file...>",
      "octez-signer's *_high_watermarks, Signatory's watermark_v2/CHAIN.json, octez-baker's *_highwatermarks and *_nonces",
    )
    .option("--head <number>", "level of the chain's head, where no member of the baker tells it", plainLevel)
    .option("--unsigned <address...>", "keys that never signed anything")
    .option("--yes", "do it")
    .action((options: ImportOptions) => importFiles(session, options));
}
