import { beatPid } from "./config";

const beatMs = 1000;

/** Tells images/tog-init, where it is this process's parent, once a second that the event loop still turns. */
export function beat(): void {
  const parent = beatPid();
  const tell = (): void => {
    // Without its parent this process ends soon, and the number may be somebody else's by then.
    if (process.ppid === parent) process.kill(parent, "SIGUSR2");
  };
  tell();
  setInterval(tell, beatMs).unref();
}
