/** What Octez' programs write: log lines, and how they refuse a command line (recorded of Octez 25.1). */
import type { ArgumentSpec } from "./common";

const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/** A log entry on standard error, line by line as Octez breaks it. */
export function log(level: "NOTICE" | "WARN" | "ERROR", ...lines: readonly string[]): void {
  const [, month = "1", day = "", time = ""] = /-(\d+)-(\d+)T(.*)Z/.exec(new Date().toISOString()) ?? [];
  const head = `${months[Number(month) - 1] ?? ""} ${day} ${time} ${level.padStart(6)} │ `;
  process.stderr.write(lines.map((line) => `${head}${line}\n`).join(""));
}

/** How octez-baker, octez-accuser and octez-signer end: the error is the last that they write. */
export function clicError(message: string, code = 1): never {
  process.stderr.write(`Error:\n${message.replace(/^/gm, "  ")}\n`);
  process.exit(code);
}
export const unrecognized = (): never =>
  clicError("Unrecognized command.\nTry using the man command to get more information.");
/** How octez-node and octez-dal-node end where they do not understand an option. */
export function cmdlinerUsage(program: string, command: string, message: string): never {
  process.stderr.write(
    `${program}: ${message}\nUsage: ${program} ${command} [OPTION]…\n` +
      `Try '${program} ${command} --help' or '${program} --help' for more information.\n`,
  );
  process.exit(124);
}
/** How octez-node and octez-dal-node end otherwise. */
export function cmdlinerError(program: string, message: string, code = 124): never {
  process.stderr.write(`${program}: Error:\n${message.replace(/^/gm, " ".repeat(14))}\n${" ".repeat(12)}\n`);
  process.exit(code);
}

/** The global options of octez-baker and octez-accuser, as their manuals list them. */
export const clientOptions: Required<ArgumentSpec> = {
  options: {
    ...{ "--base-dir": "value", "--no-base-dir-warnings": "flag", "--config-file": "value", "--timings": "flag" },
    ...{ "--chain": "value", "--block": "value", "--wait": "value", "--protocol": "value", "--log-requests": "flag" },
    ...{ "--better-errors": "flag", "--addr": "value", "--port": "value", "--tls": "flag", "--media-type": "value" },
    ...{ "--endpoint": "value", "--sources": "value", "--remote-signer": "value", "--password-filename": "value" },
    ...{ "--mode": "value", "--log-coloring": "value", "--allow-fixed-random-seed": "flag" },
  },
  aliases: {
    ...{ "-d": "--base-dir", "-n": "--no-base-dir-warnings", "-c": "--config-file", "-t": "--timings" },
    ...{ "-b": "--block", "-w": "--wait", "-p": "--protocol", "-l": "--log-requests", "-A": "--addr" },
    ...{ "-P": "--port", "-S": "--tls", "-m": "--media-type", "-E": "--endpoint", "-s": "--sources" },
    ...{ "-R": "--remote-signer", "-f": "--password-filename", "-M": "--mode" },
  },
};
