/**
 * The pods with an installed Octez, on a sandbox's chain: docs/real-octez.md. TOG_OCTEZ names the folder of its
 * programs; else they are looked for on the PATH.
 */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { bakingContainers } from "../../../contract/containers";
import { faults } from "../../../lab/faults/faults";
import { Lab, type LabOptions } from "../../../lab/lab";
import { findOctez } from "../../../lab/octez/programs";
import { daemonBundle } from "../../../lab/programs";
import { scenarios } from "../../../lab/scenarios/built-in";
import { calm, runSteps } from "../../../lab/scenarios/run";
import { buildDaemons } from "../../../scripts/build";

const octez = findOctez(undefined, process.env);
if (typeof octez === "string") console.warn(`skipped: ${octez}; TOG_OCTEZ may name a folder`);
else if (octez.warning !== undefined) console.warn(octez.warning);
const suite = typeof octez === "string" ? describe.skip : describe;

async function start(options: Partial<LabOptions> = {}): Promise<Lab> {
  if (typeof octez === "string") throw new Error(octez);
  const lab = await Lab.start({ octez, blockMs: 2000, tog: await daemonBundle(buildDaemons), ...options });
  await lab.ready(180_000);
  await calm(lab);
  return lab;
}
const active = (lab: Lab): string => {
  const pod = lab.activePod();
  if (pod === undefined) throw new Error("nobody bakes");
  return pod;
};
/** Neither the checker nor the chain has seen anything that must not be. */
function expectNoConflict(lab: Lab): void {
  expect(lab.verdict()).toEqual([]);
  expect(lab.real?.sandbox.chain.evidence).toEqual([]);
}
const cyclesMs = 3 * 16 * 2000;

suite("the baker on a sandbox's chain with real Octez", () => {
  let lab: Lab;
  beforeAll(async () => void (lab = await start()), 300_000);
  afterAll(() => lab?.stop());
  afterEach(() => expectNoConflict(lab));

  test.each(["pod-kill", "planned-switchover", "split-brain"])(
    "%s: another pod goes on, its receipt agrees with the chain's account, and the accuser finds nothing",
    async (name) => {
      const scenario = scenarios[name];
      if (!scenario) throw new Error(`no scenario ${name}`);
      await calm(lab);
      const receipt = await runSteps(lab, scenario);
      process.stdout.write(`  ${name}: ${receipt.missedLevels} missed, ${receipt.failoverSeconds} s\n`);
      expect(receipt).toMatchObject({ ok: true, problems: [], violations: [] });
    },
    400_000,
  );

  test("octez-signer is killed and comes back: the same pod goes on", async () => {
    await calm(lab);
    const [pod, epoch] = [active(lab), lab.lease?.epoch];
    const signer = [...lab.cluster.members].find(({ workload }) => workload.kind === "Deployment")?.pod;
    const before = signer?.container("signer")?.restarts;
    signer?.killContainer("signer");
    await lab.until("the signer is started again", () => signer?.container("signer")?.restarts !== before, 30_000);
    await calm(lab);
    expect([active(lab), lab.lease?.epoch]).toEqual([pod, epoch]);
  }, 300_000);

  test("a nonce that one pod committed to is revealed while the other one bakes", async () => {
    await calm(lab);
    const by = active(lab);
    const { chain } = lab;
    const from = chain.head.level;
    const cycle = (level: number) => Math.floor((level - 1) / 16);
    // Early enough in its cycle that the other pod bakes when the revelation is due.
    const found = () => [...chain.commitments.values()].find(({ level }) => level > from && (level - 1) % 16 < 6);
    await lab.until("a commitment early in a cycle", () => found() !== undefined, 6 * cyclesMs);
    const commitment = found();
    expect(commitment).toMatchObject({ by, revealedBy: null });
    await faults.switchover?.run(lab, {});
    await calm(lab);
    expect(active(lab)).not.toBe(by);
    expect(cycle(chain.head.level)).toBe(cycle(commitment?.level ?? 0));
    await lab.until("it is revealed", () => commitment?.revealedBy !== null, cyclesMs);
    expect(commitment).toMatchObject({ revealedBy: lab.otherPod(by), lost: false });
  }, 900_000);

  test("a pod with an empty disk begins from a snapshot and follows the chain", async () => {
    await lab.until("a chain long enough for a snapshot", () => lab.chain.head.level > 40, cyclesMs);
    const pod = lab.otherPod(active(lab));
    const { claimFolders, workload } = lab.cluster.member(pod);
    const block = await lab.real?.publishSnapshot();
    lab.cluster.loseNode(pod);
    for (const folder of claimFolders) rmSync(join(folder, "node"), { recursive: true });
    const init = workload.template.init.find(({ name }) => name === bakingContainers.importSnapshot.name);
    init?.args.splice(0, 1, "https://publisher.example/sandbox");
    await lab.cluster.restoreNode(pod);
    await lab.podsReady(180_000);
    const imported = lab.events.filter(({ source, event }) => source === "import-snapshot" && event === "imported");
    expect(imported.map(({ reason }) => reason)).toEqual([`block ${block}`]);
    await calm(lab);
  }, 400_000);
});

suite("a delegate that goes to a tz4 key with its companion, with real Octez and its DAL nodes", () => {
  let lab: Lab;
  beforeAll(async () => void (lab = await start({ rotation: "tz4" })), 300_000);
  afterAll(() => lab?.stop());

  test("the chain takes both keys, and the next one attests without a restart", async () => {
    const { next } = lab.synthesis.bakers[0] ?? {};
    const daemons = lab.trace.intervals.length;
    await lab.registerNextKeys();
    const { chain } = lab;
    const signs = () => lab.signatures.some(({ address }) => address === next?.consensus.address);
    await lab.until("the next key signs", signs, 3 * cyclesMs);
    const from = chain.head.level;
    const decided = () =>
      chain.levels.filter(({ level, attestationMissed: missed }) => level > from && missed !== null);
    await lab.until("eight levels more", () => decided().length >= 8, 120_000);
    expect(decided().filter(({ attestationMissed }) => attestationMissed)).toEqual([]);
    expect(lab.trace.intervals).toHaveLength(daemons);
    const dalNodes = lab.cluster.bakingMembers().map(({ pod }) => pod.container(bakingContainers.dalNode.name));
    expect(dalNodes.map((container) => [container?.state, container?.restarts])).toEqual([
      ["running", 0],
      ["running", 0],
    ]);
    expectNoConflict(lab);
  }, 600_000);
});
