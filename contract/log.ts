/** One line of a daemon's log, and of a laboratory timeline: JSON on stdout. */
export interface LogEntry {
  /** Wall clock in milliseconds since 1970, for people and for joining logs; never used for a decision. */
  atMs: number;
  level: "debug" | "info" | "warn" | "error";
  pod: string;
  daemon: string;
  /** Stable code in kebab-case, for instance `acquired`, `gate-refused`, `nonce-unreplicated`. */
  event: string;
  reason: string;
  [field: string]: unknown;
}
