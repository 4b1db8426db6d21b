/**
 * The baker's own lock: POSIX `lockf` on CLIENT/wallet_lock, which octez-baker takes before each signature and for each
 * use of the nonce files. flock(2) does not exclude it, and Node has neither. A POSIX lock belongs to the process and
 * goes with the first close of any descriptor of the file: nothing else in the process may open wallet_lock.
 */
import { closeSync, constants, openSync } from "node:fs";
import { join } from "node:path";
import koffi from "koffi";
import { sleep, type Clock } from "../runtime/clock";

const F_ULOCK = 0;
const F_TLOCK = 2;
let lockf: ((fd: number, command: number, length: number) => number) | undefined;

/** The C library of this process; glibc and musl alike. */
function native(): (fd: number, command: number, length: number) => number {
  return (lockf ??= koffi.load(null).func("int lockf(int fd, int cmd, int64_t len)") as unknown as (
    fd: number,
    command: number,
    length: number,
  ) => number);
}

export interface HeldLock {
  release(): void;
}

/**
 * Waits at most `waitMs`; undefined where another process holds the lock all that time. @throws the error of the file
 * system
 */
export async function takeWalletLock(clientDir: string, waitMs: number, clock: Clock): Promise<HeldLock | undefined> {
  const call = native();
  // Octez opens it in the same way; the mode counts only where the importer comes first.
  const fd = openSync(join(clientDir, "wallet_lock"), constants.O_CREAT | constants.O_RDWR, 0o644);
  try {
    const since = clock.now();
    for (let attempt = 0; call(fd, F_TLOCK, 0) !== 0; attempt++) {
      const error = koffi.errno();
      const { EAGAIN, EACCES, EINTR } = koffi.os.errno;
      if (error !== EAGAIN && error !== EACCES && error !== EINTR)
        throw new Error(`lockf of wallet_lock failed with errno ${error}`);
      if (clock.now() - since >= waitMs) {
        closeSync(fd);
        return undefined;
      }
      await sleep(Math.min(5, 1 + attempt / 4) * (0.5 + Math.random()));
    }
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  let held = true;
  return {
    release: () => {
      if (!held) return;
      held = false;
      call(fd, F_ULOCK, 0);
      closeSync(fd);
    },
  };
}
