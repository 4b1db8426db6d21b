/**
 * `npm run baker -- watermark show` and `... raise --key ADDRESS --level N [--yes]`: the operator's way out for
 * watermarks (docs/runbooks/watermark-lost.md). `raise` lifts the floor of a key: nothing at or below N is signed any
 * more. It never lowers anything, writes conditionally, and without --yes only says what it would do. Exit codes: 0
 * done (or nothing to do), 1 refused or changed meanwhile, 2 usage, 3 the cluster was not reached.
 */
import { InvalidArgumentError, type Command } from "commander";
import { labels, watermarkDataKey } from "../contract/names";
import { readWatermark } from "../contract/watermark";
import type { ConfigMapView } from "../diagnosis/objects";
import { keyHashHex } from "../tezos/addresses";
import { ClusterError, type Cluster } from "./cluster";
import type { Session } from "./session";
import { clusterCommand, plainNumber, type Common } from "./options";
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

const address = (text: string): string => {
  try {
    keyHashHex(text);
    return text;
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
  }
};

export function addWatermark(program: Command, session: Session): void {
  const group = program
    .command("watermark")
    .description("the watermarks of a baker's keys: show them, raise their floor");
  const say = (text: string) => session.out(`${text}\n`);
  clusterCommand(group, "show", "every watermark: holder, epoch, floor and the marks as level/round")
    .option("--baker <name>", "only this baker's")
    .option("--json", "print one JSON array")
    .action(async (common: Common) => {
      const objects = await watermarks(session.connect(common)).list(common.baker);
      if (common.json) say(JSON.stringify(objects.map((object) => ({ ...readWatermark(object.text), ...object }))));
      else say(objects.length === 0 ? "no watermark in this namespace" : renderWatermarks(objects));
    });
  clusterCommand(group, "raise", "nothing at or below this level is signed any more; never lowers")
    .requiredOption("--key <address>", "tz1..tz4 of the signing key", address)
    .requiredOption(
      "--level <number>",
      "the new floor",
      plainNumber("a level is written in digits alone, for instance 3200011", /^\d+$/),
    )
    .option("--far", `a level more than ${farLevels} above everything recorded is meant`)
    .option("--yes", "do it")
    .action(async (common: Common & { key: string; level: number; far?: boolean; yes?: boolean }) => {
      const result = await raise(watermarks(session.connect(common)), common.key, common.level, {
        yes: common.yes === true,
        far: common.far === true,
      });
      session.exitCode = result.exitCode;
      (result.exitCode === 0 ? session.out : session.err)(`${result.text}\n`);
    });
}
