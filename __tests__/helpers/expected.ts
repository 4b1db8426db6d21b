/** What a stack deploys as small files that a person can review, one per construct: `jest -u` writes them. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { TerraformResource } from "cdktf";
import { stringify } from "yaml";
import type { Synthesized, SynthesizedContainer } from "./synthesized";

const folder = join(__dirname, "../constructs/expected");

/** Compares a text with a committed file, which `jest -u` (and `jest` where there is none) writes. */
export function expectFile(name: string, text: string): void {
  const file = join(folder, name);
  const { _updateSnapshot: update } = expect.getState().snapshotState as unknown as {
    _updateSnapshot: "all" | "new" | "none";
  };
  if (update === "all" || (update === "new" && !existsSync(file))) {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  }
  expect(text).toBe(readFileSync(file, "utf8"));
}

/** The resources of each construct as YAML: `depth` words of the construct's path -> text. */
export function resourcesOf({ stack, document }: Synthesized, depth: (path: string[]) => number): Map<string, string> {
  const constructs = new Map<string, Record<string, unknown>>();
  for (const node of stack.node.findAll())
    if (node instanceof TerraformResource) {
      const path = node.node.path.split("/").slice(1);
      const name = path.slice(0, depth(path)).join("/");
      const address = `${node.terraformResourceType}.${node.friendlyUniqueId}`;
      const attributes = document.resource[node.terraformResourceType]?.[node.friendlyUniqueId];
      constructs.set(name, { ...constructs.get(name), [address]: brief(attributes) });
    }
  return new Map([...constructs].map(([name, resources]) => [name, stringify(resources, { lineWidth: 120 })]));
}

const itsEnvironment = "as in the contract";
/** All containers of a pod have the same environment: it is written once. */
function brief(attributes: unknown): unknown {
  let environment: string | undefined;
  return JSON.parse(JSON.stringify(attributes), (key, value: unknown) => {
    if ((key !== "container" && key !== "init_container") || !Array.isArray(value)) return value;
    return (value as SynthesizedContainer[]).map((one) => {
      const text = JSON.stringify(one.env);
      environment ??= text;
      return environment === text && value.length > 1 && one !== value[0] ? { ...one, env: itsEnvironment } : one;
    });
  }) as unknown;
}
