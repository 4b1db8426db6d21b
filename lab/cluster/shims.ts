/** Programs of the images as they run here: doubles, or an installed Octez. */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { leavesFile } from "../octez/lives";

export interface Programs {
  /** Bundle of the daemons. */
  tog: string;
  /** Bundle of the doubles: the first argument names the program. */
  doubles: string;
  preload: string;
}
export interface RealPrograms {
  /** Absolute path of each of Octez' programs, by name. */
  paths: Readonly<Record<string, string>>;
  /** Where a start of octez-baker leaves its file (octez/lives.ts). */
  lives: string;
}
/** For NODE_OPTIONS, which is split at spaces that are not quoted: a folder may have some. */
export const requireOption = (path: string): string => `--require=${JSON.stringify(path)}`;

/** As a shell script. It becomes the program: process id, signals and exit code are the program's own. */
function realProgram(name: string, path: string, { lives }: RealPrograms): string {
  const home = ': "${HOME:=$PWD}"\nexport HOME\n';
  const leaves = name === "octez-baker" ? `case " $* " in *" run with "*) ${leavesFile(lives)} ;; esac\n` : "";
  return `${home}${leaves}exec "${path}" "$@"`;
}

/** @param snapshot file with the hash of the snapshot's block; the snapshot itself, where there is one, is PATH.file */
export function writeShims(bin: string, doubles: string, snapshot: string, real?: RealPrograms): void {
  mkdirSync(bin, { recursive: true });
  const write = (name: string, text: string) => writeFileSync(join(bin, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  for (const name of ["octez-node", "octez-baker", "octez-dal-node", "octez-accuser", "octez-signer", "predecessor"])
    write(name, `exec "${process.execPath}" "${doubles}" ${name} "$@"`);
  if (real) for (const [name, path] of Object.entries(real.paths)) write(name, realProgram(name, path, real));
  // The snapshot's publisher: the page with the hash, and the file.
  write(
    "wget",
    [
      "out=-",
      "while [ $# -gt 1 ]; do case $1 in -O) out=$2; shift 2 ;; -T) shift 2 ;; *) shift ;; esac; done",
      `block=$(cat "${snapshot}")`,
      'case $1 in *.html) body="<html>$block</html>" ;; *) body="{\\"block\\":\\"$block\\"}" ;; esac',
      `case $1 in *.html) ;; *) if [ -f "${snapshot}.file" ]; then exec cp "${snapshot}.file" "$out"; fi ;; esac`,
      'if [ "$out" = - ]; then printf "%s\\n" "$body"; else printf "%s\\n" "$body" >"$out"; fi',
    ].join("\n"),
  );
}

/** The command line of this machine for one of the images. */
export function resolveCommand(bin: string, tog: string, command: readonly string[], address: string): string[] {
  // A server on all addresses of a pod listens on the pod's own one here.
  const words = command.map((word) => (word === "0.0.0.0" ? address : word));
  const at = words.indexOf("/usr/local/bin/tog");
  if (at === 0 || (at > 0 && words[0] === "/sbin/tini")) return [process.execPath, tog, ...words.slice(at + 1)];
  const known = join(bin, words[0] ?? "");
  return existsSync(known) ? [known, ...words.slice(1)] : words;
}
