/** Finds the programs of an installed Octez: in a folder that was named, or on the PATH. */
import { execFileSync } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { join, resolve } from "node:path";

export const octezPrograms = [
  "octez-node",
  "octez-client",
  "octez-baker",
  "octez-signer",
  "octez-accuser",
  "octez-dal-node",
] as const;
export type OctezProgram = (typeof octezPrograms)[number];

export interface Octez {
  /** Absolute path of each program. */
  paths: Readonly<Record<OctezProgram, string>>;
  /** As octez-node says it, for instance "25.1". */
  version: string;
  /** What speaks against this version. */
  warning?: string;
}
/** The release whose protocol, command lines and answers the laboratory knows. */
const knownRelease = 25;

const executable = (path: string): boolean => {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
};
/** "25.1" of "8ca4f2a4 (2026-07-01 12:00:00 +0200) (Octez 25.1)". @throws Error where it does not run */
function versionOf(path: string): string {
  const text = execFileSync(path, ["--version"], {
    encoding: "utf8",
    timeout: 20_000,
    stdio: ["ignore", "pipe", "pipe"],
  }).trim();
  return /\(Octez ([^)\s]+)/.exec(text)?.[1] ?? text.slice(0, 60);
}

/**
 * @param folder the one that was asked for; else TOG_OCTEZ names it, else the folders of the PATH are searched
 * @returns a sentence that says what is missing, where there is no complete Octez
 */
export function findOctez(folder: string | undefined, env: NodeJS.ProcessEnv): Octez | string {
  const named = folder ?? (env.TOG_OCTEZ === "" ? undefined : env.TOG_OCTEZ);
  const folders = named === undefined ? (env.PATH ?? "").split(":").filter(Boolean) : [resolve(named)];
  const where = named === undefined ? "on the PATH" : `in ${resolve(named)}`;
  const found = octezPrograms.flatMap((name) => {
    const path = folders.map((one) => join(one, name)).find(executable);
    return path === undefined ? [] : [[name, path] as const];
  });
  const paths = Object.fromEntries(found) as Record<OctezProgram, string>;
  const missing = octezPrograms.filter((name) => !(name in paths));
  let version = "";
  try {
    version = found.length === 0 ? "" : versionOf((paths["octez-node"] as string | undefined) ?? found[0]?.[1] ?? "");
  } catch (error) {
    return `octez-node ${where} does not run: ${(error as Error).message.split("\n")[0]}`;
  }
  if (missing.length > 0)
    return (
      `not ${where}: ${missing.join(", ")}` +
      (found.length === 0 ? "" : ` (there is Octez ${version}: ${found.map(([name]) => name).join(", ")})`)
    );
  const warning = `Octez ${version} ${where}: the laboratory was written for version ${knownRelease}`;
  return { paths, version, ...(parseInt(version) === knownRelease ? {} : { warning }) };
}

if (require.main === module) {
  const found = findOctez(undefined, process.env);
  // For .ci/run: nothing, or the reason why the suite is skipped.
  if (typeof found === "string") console.log(`${found}; TOG_OCTEZ may name a folder`);
}
