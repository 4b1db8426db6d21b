/** The shell that starts our daemons again, with real daemons and real signals, under one kind of shell. */
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { ports } from "../../contract/ports";
import { bundlePath } from "../helpers/bundle";
import { createNoncePods, until, type NoncePods } from "../helpers/nonce-pods";

const script = resolve(__dirname, "../../images/tog-init");

let folder: string;
let world: NoncePods | undefined;
const running: Init[] = [];
/** One shell of ours with what it runs. */
class Init {
  readonly logs: Record<string, unknown>[] = [];
  readonly ended: Promise<number | null>;
  private readonly child: ChildProcess;

  constructor(shell: readonly string[], command: readonly string[], env: NodeJS.ProcessEnv) {
    const [file = "", ...args] = [...shell, script, ...command];
    // A group of its own, so that whatever runs below it can be ended with it.
    this.child = spawn(file, args, { env, stdio: ["ignore", "pipe", "inherit"], detached: true });
    let text = "";
    this.child.stdout?.on("data", (data: Buffer) => {
      text += data.toString();
      const lines = text.split("\n");
      text = lines.pop() ?? "";
      for (const line of lines.filter((candidate) => candidate.startsWith("{")))
        this.logs.push(JSON.parse(line) as Record<string, unknown>);
    });
    this.ended = new Promise((done) => this.child.once("close", (code, signal) => done(signal ? -1 : code)));
    running.push(this);
  }
  get pid(): number {
    return this.child.pid ?? 0;
  }
  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }
  /** Process of the daemon; undefined while there is none. */
  daemon(): number | undefined {
    const children = readFileSync(`/proc/${this.pid}/task/${this.pid}/children`, "utf8").trim().split(" ");
    return children.map(Number).find((pid) => {
      try {
        // Before its exec a child has this shell's own command line.
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").startsWith(process.execPath);
      } catch {
        return false;
      }
    });
  }
  events(name: string): unknown[] {
    return this.logs.filter(({ event }) => event === name).map(({ reason }) => reason);
  }
  async end(): Promise<void> {
    try {
      process.kill(-this.pid, "SIGKILL");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
    await this.ended;
  }
}

async function startExposer(shell: readonly string[]): Promise<{ init: Init; live: () => Promise<number> }> {
  world = await createNoncePods();
  const [pod] = world.pods;
  if (!pod) throw new Error("a pod");
  const init = new Init(shell, [process.execPath, await bundlePath(), "nonce-exposer"], pod.environment);
  const live = (): Promise<number> =>
    fetch(`http://${pod.address}:${ports.nonceExposer}/live`, { headers: { connection: "close" } }).then(
      ({ status }) => status,
      () => 0,
    );
  await until("it lives", async () => (await live()) === 200);
  return { init, live };
}
const nextDaemon = (init: Init, before: number | undefined): Promise<number> =>
  until("another process", () => {
    const now = init.daemon();
    return now !== before ? now : undefined;
  });

/**
 * A `sleep` that notes what it was asked for and takes a fiftieth of it. It first lets the look arrive that was asked
 * for before (SIGUSR1, bit 0x200 of what is pending): signals that wait together count as one.
 */
function quickSleep(): { env: NodeJS.ProcessEnv; pauses: () => string[] } {
  const bin = join(folder, "bin");
  const list = join(folder, "pauses");
  mkdirSync(bin);
  writeFileSync(
    join(bin, "sleep"),
    [
      "#!/bin/sh",
      `echo "$1" >>${list}`,
      `while grep -q "^ShdPnd:.*[2367abef]..$" "/proc/$BEAT_PID/status" 2>/dev/null; do ${which("sleep")} 0.01; done`,
      `exec ${which("sleep")} "0.0$1"`,
      "",
    ].join("\n"),
  );
  chmodSync(join(bin, "sleep"), 0o755);
  // The looks are every 2 s; all else is a pause before a start.
  const pauses = (): string[] => (existsSync(list) ? readFileSync(list, "utf8").trim().split("\n") : []);
  return { env: { PATH: `${bin}:${process.env.PATH}` }, pauses };
}
const which = (program: string): string => spawnSync("which", [program], { encoding: "utf8" }).stdout.trim();

export function togInitSuite(...shell: string[]): void {
  const there = spawnSync("which", shell.slice(0, 1)).status === 0;
  (there ? describe : describe.skip)(`${shell.join(" ")}${there ? "" : " (not installed: skipped)"}`, () => {
    beforeEach(() => (folder = mkdtempSync(join(tmpdir(), "tog-init-"))));
    afterEach(async () => {
      for (const init of running.splice(0)) await init.end();
      await world?.close();
      world = undefined;
      rmSync(folder, { recursive: true, force: true });
    });

    test("a daemon that is killed is started again each time, and says after how long", async () => {
      const { init, live } = await startExposer(shell);
      for (let kill = 0; kill < 4; kill++) {
        const before = init.daemon();
        process.kill(before ?? 0, "SIGKILL");
        await nextDaemon(init, before);
        await until("it lives again", async () => (await live()) === 200);
      }
      expect(init.events("daemon-restarted")).toEqual(
        [0, 0, 1, 2].map((pause, index) => `exit code 137, failure ${index + 1} in a row, started again in ${pause} s`),
      );
      init.kill("SIGTERM");
      expect(await init.ended).toBe(0);
      expect(init.events("stopped")).toEqual(["signal"]);
    });

    test("a daemon that hangs is killed and replaced; told to stop while it hangs, it is killed and not replaced", async () => {
      const { init, live } = await startExposer(shell);
      const before = init.daemon();
      process.kill(before ?? 0, "SIGSTOP");
      const next = await nextDaemon(init, before);
      await until("it lives again", async () => (await live()) === 200);
      expect(init.events("daemon-silent")).toHaveLength(1);
      process.kill(next, "SIGSTOP");
      init.kill("SIGTERM");
      expect(await init.ended).toBe(137);
      expect(init.events("daemon-restarted")).toHaveLength(1);
    });

    test("a mistake in the configuration ends the container at once", async () => {
      const init = new Init(shell, [process.execPath, await bundlePath(), "nonce-exposer"], {});
      expect(await init.ended).toBe(1);
      expect(init.events("daemon-restarted")).toEqual([]);
      expect(init.events("configuration")).toContainEqual(expect.stringContaining("TOG_POD_NAME: must be set"));
    });

    test("the seventh failure in a row is the kubelet's", async () => {
      const { env, pauses } = quickSleep();
      const init = new Init(shell, ["sh", "-c", "exit 3", "broken"], env);
      expect(await init.ended).toBe(3);
      expect(init.events("daemon-restarted")).toHaveLength(6);
      expect(pauses().filter((pause) => pause !== "2")).toEqual(["1", "4", "8"]);
      expect(init.events("daemon-given-up")).toEqual(["7 failures in a row, the last with exit code 3"]);
    });

    test("a run of thirty looks ends a row of failures, and a daemon that never beats is left alone", async () => {
      const { env, pauses } = quickSleep();
      const runs = join(folder, "runs");
      // Its first run fails, and its second one after a long time.
      const program = `echo run >>${runs}; [ "$(wc -l <${runs})" -lt 2 ] && exit 3; while [ ! -e ${runs}.go ]; do ${which("sleep")} 0.1; done; rm ${runs}.go; exit 4`;
      const init = new Init(shell, ["sh", "-c", program, "steady"], env);
      await until("thirty looks", () => pauses().length > 60);
      writeFileSync(`${runs}.go`, "");
      await until("the second failure", () => init.events("daemon-restarted").length === 2);
      expect(init.events("daemon-restarted")[1]).toBe("exit code 4, failure 1 in a row, started again in 0 s");
      init.kill("SIGTERM");
      expect(await init.ended).toBe(143);
    });

    test("a daemon that lost the signal to stop, because it had just been forked, gets another", async () => {
      const ready = join(folder, "ready");
      const program = `trap "trap - TERM" TERM; touch ${ready}; while :; do ${which("sleep")} 0.05; done`;
      const init = new Init(shell, ["sh", "-c", program, "deaf"], quickSleep().env);
      await until("it runs", () => existsSync(ready));
      init.kill("SIGTERM");
      expect(await init.ended).toBe(143);
    });
  });
}
