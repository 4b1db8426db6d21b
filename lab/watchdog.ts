import { spawn } from "node:child_process";

const script = [
  "cat >/dev/null",
  "for round in 1 2 3; do",
  "  for process in /proc/[0-9]*; do",
  '    if grep -qs "LAB_RUN=$1" "$process/environ"; then kill -9 "${process#/proc/}" 2>/dev/null; fi',
  "  done",
  "done",
  '[ -z "$2" ] || rm -rf "$2"',
].join("\n");

/**
 * Ends every process with the laboratory's mark once this process has ended, however that happens. @param folder is
 * then removed; "" for none. @returns lets it do so now
 */
export function startWatchdog(run: string, folder: string): () => Promise<void> {
  const watchdog = spawn("sh", ["-c", script, "laboratory-watchdog", run, folder], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
    env: { PATH: "/usr/bin:/bin" },
  });
  watchdog.unref();
  return async () => {
    if (watchdog.exitCode !== null) return;
    watchdog.ref();
    const gone = new Promise((resolve) => watchdog.once("exit", resolve));
    watchdog.stdin.destroy();
    await gone;
  };
}
