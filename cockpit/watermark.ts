/**
 * `npm run baker -- watermark show` and `... raise --key ADDRESS --level N [--yes]`: the operator's way out for
 * watermarks (docs/runbooks/watermark-lost.md). `raise` lifts the floor of a key: nothing at or below N is signed any
 * more. It never lowers anything, writes conditionally, and without --yes only says what it would do. Exit codes: 0
 * done (or nothing to do), 1 refused or changed meanwhile, 2 usage, 3 the cluster was not reached.
 */
import type { Command } from "commander";
import { bakerFileSchema } from "../contract/baker-file";
import { labels, watermarkDataKey } from "../contract/names";
import { readWatermark } from "../contract/watermark";
import type { ConfigMapView } from "../diagnosis/objects";
import { ClusterError, type Cluster } from "./cluster";
import { bakerCommand, clusterCommand, keyName, plainLevel, type Common, commandGroup } from "./options";
import { bakerName, type Session } from "./session";
import { readView } from "./view";
import { farLevels, raise, renderWatermarks, type WatermarkCluster, type WatermarkObject } from "./watermark-plan";

/** The watermarks among the cluster's config maps; replaced only where nobody has written meanwhile. */
function watermarks(cluster: Cluster): WatermarkCluster {
  const whole = new Map<string, ConfigMapView>();
  const view = (map: ConfigMapView): WatermarkObject => {
    const { name, uid, resourceVersion, labels: own } = map.metadata;
    whole.set(name, map);
    return { name, uid, resourceVersion, baker: own[labels.baker] ?? "", text: map.data[watermarkDataKey] };
  };
  return {
    list: async (baker) =>
      (await cluster.configMaps(baker === undefined ? "" : `${labels.baker}=${baker}`))
        .filter((map) => /^wm-[0-9a-f]{40}$/.test(map.metadata.name))
        .map(view),
    get: async (name) => {
      const map = await cluster.configMap(name);
      return map && view(map);
    },
    replace: async (object, text) => {
      const map = whole.get(object.name);
      if (!map) throw new Error(`${object.name} was not read`);
      try {
        await cluster.writeConfigMap(map, { ...map.data, [watermarkDataKey]: text });
        return "done";
      } catch (error) {
        if (error instanceof ClusterError && error.kind === "conflict") return "conflict";
        throw error;
      }
    },
  };
}

/** Address of each key by the name of its watermark, from the baker files. */
function addressesOf(maps: readonly ConfigMapView[]): Map<string, string> {
  const files = maps.flatMap(({ data }) => {
    try {
      return bakerFileSchema.safeParse(JSON.parse(data["baker.json"] ?? "null")).data ?? [];
    } catch {
      return [];
    }
  });
  return new Map(files.flatMap(({ keys }) => keys.map(({ watermark, address }) => [watermark, address] as const)));
}

async function show(session: Session, common: Common & { key?: string }): Promise<void> {
  const cluster = await session.connect(common);
  const baker = common.baker === undefined ? undefined : await bakerName(cluster, common);
  const objects = (await watermarks(cluster).list(baker)).filter(
    ({ name }) => common.key === undefined || name === common.key,
  );
  const addresses = addressesOf(await cluster.configMaps(labels.baker));
  session.print(
    common.json,
    objects.map((object) => ({
      ...{ ...readWatermark(object.text), ...object },
      address: addresses.get(object.name),
    })),
    () => (objects.length === 0 ? "no such watermark in this namespace" : renderWatermarks(objects, addresses)),
  );
}

interface RaiseCommandOptions extends Common {
  key: string;
  level: number;
  head?: number;
  far?: boolean;
  yes?: boolean;
}
async function raiseCommand(session: Session, options: RaiseCommandOptions): Promise<void> {
  const cluster = await session.connect(options);
  const baker = (await cluster.configMap(options.key))?.metadata.labels[labels.baker];
  const members = baker === undefined ? [] : (await readView(cluster, baker, session.time)).members;
  const heads = members.flatMap(({ fresh, record }) => (fresh ? (record?.headLevel ?? []) : []));
  const result = await raise(watermarks(cluster), options.key, options.level, {
    head: options.head ?? (heads.length > 0 ? Math.max(...heads) : undefined),
    yes: options.yes === true,
    far: options.far === true,
  });
  session.exitCode = result.exitCode;
  (result.exitCode === 0 ? session.out : session.err)(`${result.text}\n`);
}

export function addWatermark(program: Command, session: Session): void {
  const group = commandGroup(program, "watermark", "the watermarks of a baker's keys: show them, raise their floor");
  bakerCommand(group, "show", "every watermark: holder, epoch, floor and the marks as level/round")
    .option("--key <address>", "only this key's: tz1..tz4, or the name of its watermark", keyName)
    .option("--json", "print one JSON array")
    .action((options: Common & { key?: string }) => show(session, options));
  clusterCommand(group, "raise", "nothing at or below this level is signed any more; never lowers")
    .requiredOption("--key <address>", "tz1..tz4 of the signing key, or the name of its watermark", keyName)
    .requiredOption("--level <number>", "the new floor", plainLevel)
    .option("--head <number>", "level of the chain's head, where no member of the baker tells it", plainLevel)
    .option("--far", `a level more than ${farLevels} above the head is meant`)
    .option("--yes", "do it")
    .action((options: RaiseCommandOptions) => raiseCommand(session, options));
}
