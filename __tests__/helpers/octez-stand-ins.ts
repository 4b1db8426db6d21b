/** A folder with the programs of Octez, which are doubles, for a laboratory that takes them as real. */
import { writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { octezPrograms } from "../../lab/octez/programs";

const node = `"${process.execPath}"`;
const tsx = resolve(__dirname, "../../node_modules/tsx/dist/loader.mjs");
const sandboxNode = resolve(__dirname, "sandbox-node.ts");

/** @param doubles their bundle; @returns the file with a line for each start: the program and its arguments */
export function writeStandIns(folder: string, doubles: string): string {
  const started = join(folder, "started");
  const what: Partial<Record<string, string>> = {
    "octez-client": "exit 0",
    // Of the pods: they have a chain to connect to. The other one makes the chain.
    "octez-node": `[ -n "$LAB_CHAIN" ] || [ "$1" = --version ] || exec ${node} --import "${tsx}" "${sandboxNode}" "$@"`,
    "octez-baker": 'case " $* " in *" other1 "*) exec sleep 100000 ;; esac',
  };
  for (const name of octezPrograms) {
    const say = '[ "$1" = --version ] || ' + `printf '%s\\n' "${name} $*" >>"${started}"`;
    const text = ["#!/bin/sh", say, what[name] ?? "", `exec ${node} "${doubles}" ${name} "$@"`, ""].join("\n");
    writeFileSync(join(folder, name), text, { mode: 0o755 });
  }
  return started;
}
