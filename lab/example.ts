/** The shadownet example, from which the laboratory and the cluster on this machine begin. */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parse } from "@cdktf/hcl2json";

export const exampleFolder = resolve(__dirname, "../examples/shadownet");

/** Baker -> address -> "unencrypted:edsk...". */
export type HotKeys = Record<string, Record<string, string>>;

/** The published keys of the example, which are worth nothing. */
export async function exampleHotKeys(): Promise<HotKeys> {
  const text = readFileSync(join(exampleFolder, "secrets.auto.tfvars.example"), "utf8");
  const parsed = (await parse("secrets.tfvars", text)) as { secrets: { hot_keys: HotKeys } };
  return parsed.secrets.hot_keys;
}
