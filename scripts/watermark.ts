/**
 * `npm run watermark -- show` and `... raise --key ADDRESS --level N [--yes]`: the operator's way out for watermarks (docs/runbooks/watermark-lost.md).
 * `raise` lifts the floor of a key: nothing at or below N is signed any more. It never lowers anything, writes conditionally, and without --yes only says what it would do.
 * Exit codes: 0 done (or nothing to do), 1 refused or changed meanwhile, 2 usage, 3 the cluster was not reached.
 */
import type { V1ConfigMap } from "@kubernetes/client-node";
import { Command, CommanderError, InvalidArgumentError } from "commander";
import { keyHashHex } from "../contract/addresses";
import { labels, watermarkDataKey } from "../contract/names";
import { farLevels, raise, readRecord, renderWatermarks, type WatermarkCluster, type WatermarkObject } from "./watermark-plan";

class Unreachable extends Error {}

async function connect(options: { kubeconfig?: string; context?: string; namespace: string }): Promise<WatermarkCluster> {
  const { ApiException, CoreV1Api, KubeConfig } = await import("@kubernetes/client-node");
  const config = new KubeConfig();
  try {
    if (options.kubeconfig !== undefined) config.loadFromFile(options.kubeconfig);
    else config.loadFromDefault();
  } catch (error) {
    throw new Unreachable(`the kubeconfig cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (options.context !== undefined) {
    if (!config.getContextObject(options.context))
      throw new Unreachable(
        `--context names a context of the kubeconfig (${config
          .getContexts()
          .map((context) => context.name)
          .join(", ")}); got "${options.context}"`,
      );
    config.setCurrentContext(options.context);
  }
  if (!config.getCurrentCluster()) throw new Unreachable("the kubeconfig has no current context: give --context");
  const core = config.makeApiClient(CoreV1Api);
  const { namespace } = options;
  const whole = new Map<string, V1ConfigMap>();
  const view = (map: V1ConfigMap): WatermarkObject => {
    const name = map.metadata?.name ?? "";
    whole.set(name, map);
    return {
      name,
      uid: map.metadata?.uid ?? "",
      resourceVersion: map.metadata?.resourceVersion ?? "",
      baker: map.metadata?.labels?.[labels.baker] ?? "",
      text: map.data?.[watermarkDataKey],
    };
  };
  const call = async <T>(action: () => Promise<T>, otherwise: (status: number) => T | undefined = () => undefined): Promise<T> => {
    try {
      return await action();
    } catch (error) {
      if (!(error instanceof ApiException))
        throw new Unreachable(`no answer from the cluster: ${error instanceof Error ? error.message : String(error)}`);
      const value = otherwise(error.code);
      if (value !== undefined) return value;
      throw new Unreachable(`the cluster answered ${error.code}: ${String(error.body).slice(0, 300)}`);
    }
  };
  return {
    list: (baker) =>
      call(async () => {
        const { items } = await core.listNamespacedConfigMap({
          namespace,
          ...(baker === undefined ? {} : { labelSelector: `${labels.baker}=${baker}` }),
        });
        return items.filter((map) => /^wm-[0-9a-f]{40}$/.test(map.metadata?.name ?? "")).map(view);
      }),
    get: async (name) =>
      (
        await call<{ found: WatermarkObject | undefined }>(
          async () => ({ found: view(await core.readNamespacedConfigMap({ name, namespace })) }),
          (status) => (status === 404 ? { found: undefined } : undefined),
        )
      ).found,
    replace: (object, text) => {
      const map = whole.get(object.name);
      // A PUT without them would overwrite whatever is there.
      if (!map || object.uid === "" || object.resourceVersion === "") throw new Unreachable(`${object.name} has no uid or resourceVersion`);
      return call<"done" | "conflict">(
        async () => {
          await core.replaceNamespacedConfigMap({
            name: object.name,
            namespace,
            body: { ...map, data: { ...map.data, [watermarkDataKey]: text } },
          });
          return "done";
        },
        (status) => (status === 409 ? "conflict" : undefined),
      );
    },
  };
}

interface Common {
  baker?: string;
  context?: string;
  kubeconfig?: string;
  namespace: string;
  json?: boolean;
}
const address = (text: string): string => {
  try {
    keyHashHex(text);
    return text;
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
  }
};

const io = { connect, out: (text: string) => console.log(text), err: (text: string) => console.error(text) };

/** @returns exit code */
async function main(argv: readonly string[]): Promise<number> {
  let exitCode = 0;
  const program = new Command("watermark").description("The watermarks of a baker's keys: show them, raise their floor.").exitOverride();
  program.configureOutput({ writeOut: (text) => io.out(text.trimEnd()), writeErr: (text) => io.err(text.trimEnd()) });
  const command = (name: string, text: string): Command =>
    program
      .command(name)
      .description(text)
      .option("--context <name>", "context of the kubeconfig")
      .option("--kubeconfig <file>", "kubeconfig (default: KUBECONFIG or ~/.kube/config)")
      .option("--namespace <name>", "namespace of the bakers", "tezos");
  command("show", "every watermark: holder, epoch, floor and the marks as level/round")
    .option("--baker <name>", "only this baker's")
    .option("--json", "print one JSON array")
    .action(async (common: Common) => {
      const objects = await (await io.connect(common)).list(common.baker);
      if (common.json) io.out(JSON.stringify(objects.map((object) => ({ ...object, ...readRecord(object.text) }))));
      else io.out(objects.length === 0 ? "no watermark in this namespace" : renderWatermarks(objects));
    });
  command("raise", "nothing at or below this level is signed any more; never lowers")
    .requiredOption("--key <address>", "tz1..tz4 of the signing key", address)
    .requiredOption("--level <number>", "the new floor", Number)
    .option("--far", `a level more than ${farLevels} above everything recorded is meant`)
    .option("--yes", "do it")
    .action(async (common: Common & { key: string; level: number; far?: boolean; yes?: boolean }) => {
      const result = await raise(await io.connect(common), common.key, common.level, {
        yes: common.yes === true,
        far: common.far === true,
      });
      exitCode = result.exitCode;
      (result.exitCode === 0 ? io.out : io.err)(result.text);
    });
  try {
    await program.parseAsync([...argv], { from: "user" });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    io.err(error instanceof Error ? error.message : String(error));
    return error instanceof Unreachable ? 3 : 1;
  }
}

void main(process.argv.slice(2)).then((code) => {
  process.exitCode = code;
});
