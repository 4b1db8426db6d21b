/** Lets the faults of a plan act: most are only looked at by others while they last, the rest do something here. */
import { writePause } from "../../contract/handover-pause";
import { annotations, leaderLeaseName, memberLeaseName, watermarkDataKey, watermarkName } from "../../contract/names";
import { requestBytes } from "../checker/schedules/client";
import { reaches, type Promises } from "../checker/schedules/promises";
import { baker, chainId } from "../checker/schedules/scene";
import type { SimulatedChain } from "./chain";
import { sentenceOf, type Fault, type FaultKind } from "./faults";
import { recordOf, type SimulatedKube } from "./kube-api";
import type { SimulatedPod } from "./pod";
import { worldBeganMs } from "./process";
import { nameOf, type Stage } from "./stage";

/** What happens at the beginning of a fault, and at its end. */
interface Work {
  begin?: (pod: SimulatedPod, fault: Fault) => void;
  end?: (pod: SimulatedPod, fault: Fault) => void;
}

/** How long an outsider waits for the moment at which it may take a watermark's content away. */
const patienceMs = 20_000;

export class Acting {
  private readonly works: Partial<Record<FaultKind, Work>>;
  private planned = 0;

  constructor(
    private readonly stage: Stage,
    private readonly pods: readonly SimulatedPod[],
    private readonly kube: SimulatedKube,
    private readonly chain: SimulatedChain,
    private readonly promises: Promises,
  ) {
    const ends = (name: Parameters<SimulatedPod["restart"]>[0]): Work => ({
      begin: (pod, { forMs }) => pod.restart(name, forMs),
    });
    const stops = (name: Parameters<SimulatedPod["stop"]>[0]): Work => ({
      begin: (pod) => pod.stop(name),
      end: (pod) => pod.resume(name),
    });
    this.works = {
      ...{ "elector-ends": ends("elector"), "gate-ends": ends("signing-gate") },
      ...{ "supervisor-ends": ends("supervisor"), "sidecar-ends": ends("sidecar") },
      ...{ "elector-stops": stops("elector"), "gate-stops": stops("signing-gate") },
      ...{ "supervisor-stops": stops("supervisor"), "machine-stops": stops("machine") },
      "machine-ends": { begin: (pod) => pod.endMachine(), end: (pod) => this.start(pod) },
      "pod-evicted": { begin: (pod, { forMs }) => this.evict(pod, forMs) },
      "baker-ends": { begin: (pod) => pod.run?.exit(1, null) },
      "baker-hangs": {
        begin: (pod) => {
          if (pod.run) pod.run.hangs = true;
        },
      },
      "watch-gone": { begin: ({ ordinal }) => kube.expireWatches(ordinal) },
      "chain-reorganises": { begin: () => chain.reorganise() },
      "lease-deleted": { begin: () => this.kube.remove("leases", leaderLeaseName(baker)) },
      "lease-restored": { begin: () => this.restoreLease() },
      "member-lease-deleted": { begin: ({ ordinal }) => kube.remove("leases", memberLeaseName(baker, ordinal)) },
      "watermark-deleted": { begin: (_pod, { forMs }) => this.deleteWatermark(forMs) },
      "watermark-restored": { begin: () => this.restoreWatermark() },
      "floor-raised": { begin: () => this.raiseFloor() },
      "operator-moves": { begin: ({ name }) => this.annotate(annotations.preferredHolder, name) },
      "operator-pauses": { begin: () => this.pauseHandovers() },
      "rogue-client": { begin: (pod, fault) => this.askAbsurdly(pod, fault) },
      "clock-jumps": {
        begin: (pod) => (pod.clock.wallSkewMs += stage.world.pick([-30_000, -3000, 3000, 30_000])),
        end: (pod) => (pod.clock.wallSkewMs = stage.world.between(-500, 500)),
      },
    };
  }

  schedule(plan: readonly Fault[]): void {
    for (const planned of plan) {
      const { active } = this.stage;
      const work = this.works[planned.kind];
      this.later(planned.atMs, () => {
        const pod = this.podOf(planned);
        const fault = { ...planned, pod: pod.ordinal };
        active.add(fault);
        this.stage.tell(`FAULT ${sentenceOf(fault, nameOf)}`);
        work?.begin?.(pod, fault);
        this.later(fault.forMs, () => {
          active.delete(fault);
          if (fault.forMs > 0) this.stage.tell(`the end of: ${sentenceOf(fault, nameOf)}`);
          // Another one of the same kind may last longer.
          if (!this.stage.suffers(fault.pod, fault.kind)) work?.end?.(pod, fault);
        });
      });
    }
  }

  /** Something is still to be done: some faults act for longer than they last. */
  get isBusy(): boolean {
    return this.planned > 0;
  }
  private later(ms: number, run: () => void): void {
    this.planned++;
    this.stage.world.after(ms, () => {
      this.planned--;
      run();
    });
  }

  // --- pods

  private podOf({ pod: of }: Fault): SimulatedPod {
    const bakes = ({ run }: SimulatedPod) => run?.process.alive ?? false;
    // Where none bakes at that moment, it is about the first.
    const meant = () => this.pods.find((one) => bakes(one) === (of === "baking")) ?? this.pods[0];
    const pod = typeof of === "number" ? this.pods[of] : meant();
    if (!pod) throw new Error(`no such pod: ${of}`);
    return pod;
  }
  /** Unless it runs, or its machine is away: then the end of that starts it. */
  start(pod: SimulatedPod): void {
    if (!pod.isUp && !this.stage.suffers(pod.ordinal, "machine-ends")) pod.start();
  }
  /** The StatefulSet makes it anew, a while after its end. */
  private evict(pod: SimulatedPod, forMs: number): void {
    pod.evict();
    const { uid } = pod;
    const look = () => {
      if (pod.uid !== uid || this.stage.suffers(pod.ordinal, "machine-ends")) return;
      if (pod.isUp) this.later(500, look);
      else this.later(forMs, () => this.start(pod));
    };
    this.later(0, look);
  }

  // --- objects

  private annotate(name: string, text: string): void {
    const lease = this.kube.peek("leases", leaderLeaseName(baker));
    if (!lease) return;
    const { metadata } = lease;
    this.kube.put("leases", {
      ...lease,
      metadata: { ...metadata, annotations: { ...metadata.annotations, [name]: text } },
    });
  }
  private pauseHandovers(): void {
    const untilMs = worldBeganMs + this.stage.world.now + 60_000;
    this.annotate(annotations.handoverPause, writePause({ untilMs, reason: "an exercise" }));
  }
  private restoreLease(): void {
    const { world } = this.stage;
    const past = this.kube.history("leases", leaderLeaseName(baker));
    if (past.length > 0) this.kube.put("leases", world.pick(past), world.chance(0.3));
  }

  /** Only what every disk has to know may be taken away (S5). */
  private whenKnown(act: (name: string, address: string) => void): void {
    const address = this.stage.world.pick(this.stage.addresses);
    const name = watermarkName(address);
    const untilMs = this.stage.world.now + patienceMs;
    const look = () => {
      const record = recordOf(this.kube.peek("configmaps", name));
      if (record && this.pods.every(({ disk }) => this.promises.mayTake(disk, address, record))) act(name, address);
      else if (this.stage.world.now < untilMs) this.later(100, look);
    };
    look();
  }
  private deleteWatermark(forMs: number): void {
    this.whenKnown((name) => {
      const object = this.kube.peek("configmaps", name);
      this.kube.remove("configmaps", name);
      this.stage.tell(`the watermark ${name} is gone`);
      this.later(forMs, () => {
        if (object && !this.kube.peek("configmaps", name)) this.kube.put("configmaps", { ...object, data: {} }, true);
      });
    });
  }
  private restoreWatermark(): void {
    this.whenKnown((name) => {
      const { world } = this.stage;
      const present = recordOf(this.kube.peek("configmaps", name));
      const older = this.kube.history("configmaps", name).filter((object) => {
        const record = recordOf(object);
        return record && present && !reaches(record, present);
      });
      if (older.length === 0) return;
      this.kube.put(
        "configmaps",
        world.chance(0.5) ? world.pick(older) : (older.at(-1) ?? world.pick(older)),
        world.chance(0.5),
      );
      this.stage.tell(`the watermark ${name} is an old one`);
    });
  }
  private raiseFloor(): void {
    const name = watermarkName(this.stage.world.pick(this.stage.addresses));
    const object = this.kube.peek("configmaps", name);
    const record = recordOf(object);
    if (!object || !record) return;
    const floor = Math.max(record.floor, this.chain.head.level + 3);
    this.kube.put("configmaps", { ...object, data: { [watermarkDataKey]: JSON.stringify({ ...record, floor }) } });
  }

  /** Most bakers have run before; some are new. */
  createWatermarks(): void {
    const { world, addresses } = this.stage;
    const tip = this.chain.head.level;
    const text = JSON.stringify({
      ...{ version: 1, baker, chain: chainId, epoch: 1, holder: "alice-as-9_u0", floor: tip - 3, unfenced: false },
      marks: { block: null, preattestation: null, attestation: { level: tip - 2, round: 0, digest: "0".repeat(64) } },
    });
    const data: Record<string, string> = world.chance(0.8) ? { [watermarkDataKey]: text } : {};
    for (const address of addresses)
      this.kube.put("configmaps", {
        ...{ apiVersion: "v1", kind: "ConfigMap", data },
        metadata: { name: watermarkName(address), namespace: "bakers", labels: { baker } },
      });
  }

  // --- clients

  private askAbsurdly(pod: SimulatedPod, fault: Fault): void {
    const { world, active, addresses } = this.stage;
    if (!active.has(fault)) return;
    const process = pod.run?.process;
    const { level, round } = this.chain.head;
    // A baker signs nothing more than one level above the tip: S5 rests on it.
    const place = world.pick([level - 1, level, level + 1, 2147483647]);
    const kind = world.pick(["block", "preattestation", "attestation"] as const);
    const bytes = requestBytes(kind, place, world.pick([0, round, round + 1]), world.pick([1, 2, 3]));
    const again = pod.asked.length > 0 && world.chance(0.2) ? world.pick(pod.asked) : undefined;
    const asked = again ?? { address: world.pick(addresses), bytes };
    if (process) pod.ask(process, asked.address, asked.bytes, () => undefined);
    world.after(world.between(20, 3000), () => this.askAbsurdly(pod, fault));
  }
}
