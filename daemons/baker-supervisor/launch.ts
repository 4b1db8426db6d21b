/**
 * Starts a daemon so that the kernel kills it when this process dies, however it dies: parent-death signal SIGKILL.
 * setpriv of util-linux does that; where it is missing or another one (Alpine's busybox), this program does it itself
 * and then becomes the daemon.
 */
import { spawnSync } from "node:child_process";

const prSetPdeathsig = 1;
const sigkill = 9;
const sigpipe = 13;
const fSetFd = 2;

/** Words to put before a command line. */
export function launcher(
  probe = (): boolean => spawnSync("setpriv", ["--pdeathsig", "KILL", "--", "true"], { timeout: 2000 }).status === 0,
): string[] {
  if (probe()) return ["setpriv", "--pdeathsig", "KILL", "--"];
  return [process.execPath, process.argv[1] ?? "", "baker-supervisor", "--launch", String(process.pid)];
}

/** `tog baker-supervisor --launch PARENT COMMAND...`: becomes COMMAND. Returns only by exiting where it cannot. */
export async function launch(parent: number, command: readonly string[]): Promise<never> {
  // Only here: it costs memory, and most machines have setpriv.
  const { default: koffi } = await import("koffi");
  const libc = koffi.load(null);
  const prctl = libc.func("int prctl(int option, ulong a, ulong b, ulong c, ulong d)");
  const signal = libc.func("void *signal(int number, void *handler)");
  const fcntl = libc.func("int fcntl(int fd, int command, int flags)");
  const execvp = libc.func("int execvp(const char *file, const char **args)");
  prctl(prSetPdeathsig, sigkill, 0, 0, 0);
  // The parent may have died before the kernel was told.
  if (process.ppid !== parent) process.exit(1);
  // Node ignores SIGPIPE, and exec hands that down.
  signal(sigpipe, null);
  // Node marks its standard streams close-on-exec; without them the daemon's log would go nowhere.
  for (const fd of [0, 1, 2]) fcntl(fd, fSetFd, 0);
  execvp(command[0] ?? "", [...command, null]);
  console.error(
    JSON.stringify({
      level: "error",
      event: "launch",
      reason: `${command[0] ?? ""}: cannot be started (errno ${koffi.errno()})`,
    }),
  );
  process.exit(126);
}
