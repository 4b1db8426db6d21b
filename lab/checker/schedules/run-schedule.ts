/**
 * Randomized schedules of several gates on a simulated network with virtual time: real gate code, simulated API,
 * signers, disks, chain and elector. The elector elects whom it likes; processes stop, crash and come back; answers are
 * lost, late or wrong; watermarks are deleted and rewound. Everything follows from the seed. The verdict is the
 * checker's, and that a healed baker signs again.
 *
 * Two things are assumed of an adversary who takes watermarks away. What is taken away had reached every pod's disk: a
 * gate looks every two seconds, a restore needs minutes. And the lease, which keeps the epochs, is not rolled back at
 * the same moment. Without takings-away the elector hands out any epoch, twice and backwards. The strong adversary
 * (strong-adversary.ts) needs less: that the disk of the pod that leads next has to know what is taken away.
 */
import { watermarkName } from "../../../contract/names";
import type { Watermark } from "../../../contract/watermark";
import type { GateAnswer } from "../../../daemons/signing-gate/gate";
import { check } from "../checker";
import { SimulatedApi } from "./api";
import { SimulatedChain } from "./chain";
import { HostileClient, requestBytes } from "./client";
import { HostileElector } from "./elector";
import type { GateProcess } from "./gate-process";
import { Pods } from "./pods";
import { Promises } from "./promises";
import { baker, chainId, Scene, type ScheduleOptions, type ScheduleResult } from "./scene";
import { SimulatedSigners } from "./signers";
import { StrongAdversary } from "./strong-adversary";
import { knownEverywhere, promisedSomewhere, Taking } from "./taking";
import { Troubles } from "./troubles";

/** Most schedules begin with a baker in operation, some with a first installation. */
function createWatermarks({ world, keys }: Scene, api: SimulatedApi, tip: number): void {
  const before: Watermark = {
    version: 1,
    baker,
    chain: chainId,
    epoch: 1,
    holder: "alice-as-9_u0",
    floor: tip - 3,
    marks: { block: null, preattestation: null, attestation: { level: tip - 2, round: 0, digest: "0".repeat(64) } },
    unfenced: world.chance(0.1),
  };
  const text = world.chance(0.8) ? JSON.stringify(before) : "";
  for (const { address } of keys) api.put(watermarkName(address), api.newUid(), text);
}

/** Ends the faults, gives one pod a tenure as an elector does, and asks it to sign. Empty, or why it did not. */
async function heal(
  scene: Scene,
  api: SimulatedApi,
  chain: SimulatedChain,
  pods: Pods,
  elector: HostileElector,
): Promise<string> {
  const { world, keys } = scene;
  scene.faults = false;
  for (const process of pods.running) {
    process.apiDown = false;
    process.frozenHead = undefined;
    process.resume();
    elector.lead(process, 0, 0, "shut");
  }
  for (const { address } of keys) {
    const name = watermarkName(address);
    if (!api.get(name)) api.put(name, api.newUid(), "");
  }
  const last = elector.candidates()[0];
  let answers: GateAnswer[] = [];
  // As an elector does: an epoch above all watermarks, and a new one where the gate says that the tenure is over.
  for (let i = 0; last && i < 40; i++) {
    const lost = last.gate?.status().tenureLost;
    if (i === 0 || lost) api.highestEpoch++;
    elector.lead(last, api.highestEpoch, 10_000);
    await world.run(world.now + 3000);
  }
  // A watermark that the first request finds lost opens again above its new floor, which is five levels ahead (S5).
  // Levels are counted, not tries: some need more than one round.
  const until = chain.tip + 8;
  for (let tries = 0; chain.tip < until && tries < 100; tries++) {
    answers = [];
    for (const { address } of keys) {
      const bytes = requestBytes("attestation", chain.tip + 1, chain.round, 7);
      void last?.gate?.sign(address, bytes).then((answer) => answers.push(answer));
    }
    await world.run(world.now + 5000);
    if (answers.length === keys.length && answers.every((answer) => answer.status === 200)) return "";
    if (last) elector.lead(last, api.highestEpoch, 20_000);
  }
  return JSON.stringify(answers);
}

export async function runSchedule(options: ScheduleOptions): Promise<ScheduleResult> {
  const scene = new Scene(options);
  const chain = new SimulatedChain(scene);
  const processes: GateProcess[] = [];
  const promises = new Promises();
  const api = new SimulatedApi(scene, processes, promises);
  createWatermarks(scene, api, chain.tip);
  let adversary: StrongAdversary | undefined;
  const signers = new SimulatedSigners<GateProcess>(scene, (process, attempt) =>
    adversary?.onForward(process, attempt),
  );
  const pods = new Pods(scene, processes, {
    chain,
    processes,
    kubeOf: (process) => api.clientOf(process),
    signerOf: (process) => signers.clientOf(process),
    promises,
  });
  await pods.startAll();
  const elector = new HostileElector(scene, api, pods, promises);
  const client = new HostileClient(scene, chain, pods, elector);
  const licence = scene.strong ? promisedSomewhere(pods, promises, elector) : knownEverywhere(pods);
  const taking = new Taking(scene, api, licence);
  new Troubles(scene, api, chain, pods, taking);
  if (scene.strong) adversary = new StrongAdversary(scene, api, pods, promises, elector, client, taking);
  await scene.world.run((options.virtualSeconds ?? 90) * 1000);
  const stuck = await heal(scene, api, chain, pods, elector);
  const { signedLog: signed, commitLog: commits, counts, reasons, timings } = scene;
  const violations = check(signed, commits, { floorPassAfter: timings.floorPassSeconds * 1000 });
  return { seed: options.seed, violations, stuck, counts, reasons, slowestMs: scene.slowestMs, signed, commits };
}
