/** Structured logs: one JSON object a line on stdout. Never hand a secret to it. */
import type { LogEntry } from "../../contract/log";
import { systemClock, type Clock } from "./clock";

/** A block's level is `blockLevel`: the names of the entry itself are taken. */
type Fields = Record<string, unknown> &
  Partial<Record<"atMs" | "level" | "pod" | "daemon" | "event" | "reason", never>>;
export interface Log {
  debug(event: string, reason: string, fields?: Fields): void;
  info(event: string, reason: string, fields?: Fields): void;
  warn(event: string, reason: string, fields?: Fields): void;
  error(event: string, reason: string, fields?: Fields): void;
}

/** A log of one daemon. `write` gets the finished line without its newline. */
export function createLog(
  pod: string,
  daemon: string,
  write = (line: string) => void process.stdout.write(line + "\n"),
  clock: Clock = systemClock,
): Log {
  const at =
    (level: LogEntry["level"]) =>
    (event: string, reason: string, fields: Fields = {}) => {
      const entry: LogEntry = { ...fields, atMs: clock.wall(), level, pod, daemon, event, reason };
      write(JSON.stringify(entry, (_key, value: unknown) => (typeof value === "bigint" ? value.toString() : value)));
    };
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}
