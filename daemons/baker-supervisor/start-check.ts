/**
 * Whether the programs of the daemons start at all on this pod: a standby that would only find out as master is no
 * standby. Each is run with `--version`, through the same launcher as the daemon.
 */
import type { Spawn } from "./daemon-process";

const endsWithinMs = 10_000;

/** @returns why the first one that does not start does not; undefined where all do */
export async function checkStarts(
  daemons: readonly { name: string; command: readonly string[] }[],
  prefix: readonly string[],
  spawn: Spawn,
): Promise<string | undefined> {
  for (const { name, command } of daemons) {
    const how = await ended(spawn([...prefix, command[0] ?? "", "--version"]));
    if (how !== "0") return `${name} --version: ${how}`;
  }
  return undefined;
}

function ended(child: ReturnType<Spawn>): Promise<string> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => child.kill("SIGKILL"), endsWithinMs);
    const end = (how: string): void => {
      clearTimeout(timer);
      resolve(how);
    };
    child.once("error", (error) => end(error.message));
    child.once("exit", (code, signal) => end(signal ?? `${code}`));
  });
}
