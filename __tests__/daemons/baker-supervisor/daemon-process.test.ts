/** What one daemon remembers of its runs, without a process: its child ends when the test says so. */
import type { ChildProcess } from "node:child_process";
import { EventEmitter } from "node:events";
import { defaultTimings } from "../../../contract/timings";
import { DaemonProcess } from "../../../daemons/baker-supervisor/daemon-process";
import { createLog } from "../../../daemons/runtime/log";

function begin() {
  const at = { ms: 0 };
  let child = new EventEmitter();
  const daemon = new DaemonProcess("octez-baker", ["octez-baker"], {
    prefix: [],
    spawn: () => (child = new EventEmitter()) as ChildProcess,
    clock: { now: () => at.ms, nowNs: () => BigInt(at.ms) * 1_000_000n, wall: () => at.ms },
    log: createLog("pod", "baker-supervisor", () => undefined),
    timings: defaultTimings,
    onChange: () => undefined,
  });
  daemon.start();
  const end = (code = 1) => child.emit("exit", code, null);
  return {
    daemon,
    after: (seconds: number) => (at.ms += 1000 * seconds),
    end,
    /** It hangs for so long, is restarted, and hangs again until it is stopped. */
    hang(seconds: number) {
      at.ms += 1000 * seconds;
      daemon.restartHung();
      end();
      daemon.start();
      at.ms += 20_000;
      daemon.giveUp();
      at.ms += 100_000;
      expect(daemon.crashLooping).toBe(true);
      daemon.stopNow("handing-over");
      end(137);
    },
  };
}
/** How long it counts as looping while it is stopped. */
function remembered({ daemon, after }: ReturnType<typeof begin>): number {
  let seconds = 0;
  for (; daemon.crashLooping; seconds += 300) after(300);
  return seconds;
}

test("a daemon that hangs loops until it asks, or for a time after it was stopped, which says why", () => {
  const run = begin();
  run.hang(60);
  expect(run.daemon.lastExit).toBe("hung");
  expect(remembered(run)).toBe(300);
  run.daemon.start();
  expect(run.daemon.crashLooping).toBe(false);
});
test("each further hang is remembered twice as long, until the daemon asks", () => {
  const run = begin();
  const times = [60, 10, 60].map((seconds) => {
    run.hang(seconds);
    const time = remembered(run);
    run.daemon.start();
    return time;
  });
  expect(times).toEqual([300, 600, 1200]);
  run.daemon.asks();
  run.hang(60);
  expect(remembered(run)).toBe(300);
});
test("a daemon that asks after all, while it still runs, loops no longer", () => {
  const { daemon, end } = begin();
  daemon.giveUp();
  daemon.asks();
  expect(daemon.crashLooping).toBe(false);
  daemon.stopPlanned();
  end(127);
  expect([daemon.crashLooping, daemon.lastExit]).toEqual([false, "127"]);
});
test("one that nobody took over from is tried again, and loops meanwhile", () => {
  const { daemon, after, end } = begin();
  daemon.giveUp();
  after(300);
  daemon.restartHung();
  end();
  daemon.start();
  after(60);
  expect([daemon.crashLooping, daemon.lastExit]).toEqual([true, "hung"]);
});
test("a crash loop that was forgotten begins again with the next crash, not with the next start", () => {
  const run = begin();
  for (let i = 0; i < 3; i++) {
    run.end();
    run.daemon.start();
  }
  expect(run.daemon.crashLooping).toBe(true);
  run.daemon.stopNow("handing-over");
  run.end(137);
  expect(remembered(run)).toBe(300);
  run.daemon.start();
  expect(run.daemon.crashLooping).toBe(false);
  run.end();
  expect(remembered(run)).toBe(600);
});
