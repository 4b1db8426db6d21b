/**
 * The DAL in a laboratory, with its real daemons: fifty switchovers, and a DAL node that hangs just before a 50th
 * level, at which octez-baker 25.1 waits for it.
 */
import { loadavg } from "node:os";
import { defaultTimings } from "../../contract/timings";
import { inject } from "../../lab/faults/faults";
import { Lab, type LabOptions } from "../../lab/lab";
import { bundlePath } from "../helpers/bundle";

let lab: Lab;
const start = async (blockMs: number, options: Partial<LabOptions> = {}) => {
  lab = await Lab.start({ blockMs, tog: await bundlePath(), seed: "dal", ...options });
  await lab.ready(240_000);
};
afterEach(() => lab.stop());

const levelsBefore = (level: number) =>
  lab.until(`level ${level} is near`, () => lab.chain.head.level % 50 === (level + 50) % 50, 240_000);
const attested = (level: number) => lab.chain.levels.find((record) => record.level === level)?.attestationMissed;
const decidedAfter = (level: number, count: number) =>
  lab.until(
    `${count} levels more`,
    () => attested(level + count) !== null && lab.chain.head.level > level + count,
    120_000,
  );
const missedSince = (level: number) =>
  lab.chain.levels
    .filter((record) => record.level > level && record.attestationMissed === true)
    .map(({ level: at }) => at);
const heard = (event: string, reason: RegExp) =>
  lab.events.some((entry) => entry.event === event && reason.test(entry.reason));

test("the tenure moves to the DAL node that is well, and the baker does not stay stalled", async () => {
  await start(2000);
  const master = lab.activePod();
  await levelsBefore(-2);
  const from = lab.chain.head.level;
  await inject(lab, "hang-dal-node", { pod: master });
  await lab.until("the other pod bakes", () => lab.activePod() === lab.otherPod(master ?? ""), 120_000);
  await decidedAfter(lab.chain.head.level, 5);
  const missed = missedSince(from);
  console.log(`missed ${JSON.stringify(missed)} after level ${from}`);
  // The levels until the handover, which cannot be sooner than ten seconds and six at 6 s blocks: three levels.
  expect(missed.length).toBeLessThanOrEqual(6);
  expect(missed.every((level) => level <= from + 9)).toBe(true);
  expect(lab.verdict()).toEqual([]);
});

test("where both DAL nodes hang nothing moves: octez-baker stalls, is restarted in place, and bakes on without the DAL", async () => {
  // octez-baker's own five seconds are not scaled: neither is our patience with a restart.
  await start(2000, { timings: defaultTimings });
  const master = lab.activePod();
  const epoch = lab.lease?.epoch;
  await levelsBefore(-2);
  const from = lab.chain.head.level;
  for (const { pod } of lab.cluster.bakingMembers()) await inject(lab, "hang-dal-node", { pod: pod.name });
  await lab.until("the restart", () => heard("daemon-killed", /^hangs/), 120_000);
  const restartedAt = lab.chain.head.level;
  const attests = () => lab.chain.levels.some(({ level }) => level > restartedAt && attested(level) === false);
  await lab.until("octez-baker attests again", attests, 120_000);
  await decidedAfter(lab.chain.head.level, 5);
  const missed = missedSince(from);
  console.log(`missed ${JSON.stringify(missed)} after level ${from}`);
  expect(missed.length).toBeGreaterThanOrEqual(2);
  // Two to notice it; then a start, in which octez-baker waits five seconds for its DAL node.
  expect(missed.length).toBeLessThanOrEqual(12);
  expect(missed.at(-1)).toBeLessThan(lab.chain.head.level - 3);
  expect([lab.activePod(), lab.lease?.epoch]).toEqual([master, epoch]);
  expect(lab.verdict()).toEqual([]);
});

test("fifty switchovers lose no slot of the DAL beyond the missed levels", async () => {
  await start(1000);
  const from = lab.chain.head.level;
  for (let done = 0; done < 50; done++) {
    const other = lab.otherPod(lab.activePod() ?? "");
    await inject(lab, "switchover", { pod: other });
    await lab.until(`switchover ${done + 1}`, () => lab.activePod() === other, 120_000);
    const { level } = lab.chain.head;
    const signs = () => lab.chain.levels.some((record) => record.level > level && record.attestedBy === other);
    await lab.until("its attestation", signs, 120_000);
  }
  const ours = lab.chain.levels.filter((record) => record.level > from && record.attestationMissed === false);
  const sum = (of: (record: (typeof ours)[number]) => number) => ours.reduce((total, record) => total + of(record), 0);
  const [attestable, named] = [sum(({ dalAttestable }) => dalAttestable), sum(({ dalAttested }) => dalAttested)];
  console.log(
    `${ours.length} levels attested, ${missedSince(from).length} missed; ${named} of ${attestable} slots attested at them; ` +
      `load ${loadavg()[0]?.toFixed(1)}, epochs ${lab.lease?.epoch}`,
  );
  expect(named).toBe(attestable);
  expect(lab.lease?.epoch).toBeGreaterThan(50);
  expect(lab.verdict()).toEqual([]);
}, 1_800_000);
