/** Programs of the images that run here as doubles. */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export interface Programs {
  /** Bundle of the daemons. */
  tog: string;
  /** Bundle of the doubles: the first argument names the program. */
  doubles: string;
  preload: string;
}
/** For NODE_OPTIONS, which is split at spaces that are not quoted: a folder may have some. */
export const requireOption = (path: string): string => `--require=${JSON.stringify(path)}`;

/** @param snapshot file with the hash of the snapshot's block */
export function writeShims(bin: string, doubles: string, snapshot: string): void {
  mkdirSync(bin, { recursive: true });
  const write = (name: string, text: string) => writeFileSync(join(bin, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  for (const name of ["octez-node", "octez-baker", "octez-dal-node", "octez-accuser", "octez-signer", "predecessor"])
    write(name, `exec "${process.execPath}" "${doubles}" ${name} "$@"`);
  // The snapshot's publisher: the page with the hash, and the file.
  write(
    "wget",
    [
      "out=-",
      "while [ $# -gt 1 ]; do case $1 in -O) out=$2; shift 2 ;; -T) shift 2 ;; *) shift ;; esac; done",
      `block=$(cat "${snapshot}")`,
      'case $1 in *.html) body="<html>$block</html>" ;; *) body="{\\"block\\":\\"$block\\"}" ;; esac',
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
