/**
 * Whether the client folder takes new files. octez-baker writes its high watermarks there before it asks for a
 * signature: on a full or read-only disk it asks for none, and nothing else says so.
 */
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { sleep } from "../runtime/clock";

/** @returns why a new file cannot be written, by the system's code; undefined where it can */
export async function writeProblem(folder: string): Promise<string | undefined> {
  const path = join(folder, ".supervisor-writes");
  try {
    // An old file would be written in its old place, for which a full disk has room.
    await rm(path, { force: true });
    await writeFile(path, "x".repeat(4096), { flag: "wx", mode: 0o600 });
    await rm(path);
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
}

/** Tries again and again; a disk that hangs answers no try, and is then not given a second one. */
export class ClientFolder {
  private trying: Promise<string | undefined> | undefined;

  /** @param write one try */
  constructor(private readonly write: () => Promise<string | undefined>) {}

  /** @returns as `writeProblem`; no-answer where a try is not over after `patienceMs` */
  async problem(patienceMs: number): Promise<string | undefined> {
    this.trying ??= this.write().finally(() => (this.trying = undefined));
    const answered = new AbortController();
    const silence = sleep(patienceMs, answered.signal).then(() => "no-answer");
    return Promise.race([this.trying, silence]).finally(() => answered.abort());
  }
}
