/** What else there is in a project's folder besides tfvars. */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";

/** Shown where there is no tfvars file. */
export const exampleFolder = resolve(__dirname, "../examples/shadownet");

/** `context` of the folder's cdktf.json; empty where there is none. */
export function cdktfContext(folder: string): Record<string, unknown> {
  try {
    return (
      (JSON.parse(readFileSync(join(folder, "cdktf.json"), "utf8")) as { context?: Record<string, unknown> }).context ??
      {}
    );
  } catch {
    return {};
  }
}
