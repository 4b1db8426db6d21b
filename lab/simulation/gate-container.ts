/** The signing gate's own code in a simulated pod. */
import type { Leadership } from "../../contract/leadership";
import { ports } from "../../contract/ports";
import type { GateStatus, MemberRecord } from "../../contract/status";
import type { Watermark } from "../../contract/watermark";
import { gateKeys } from "../../daemons/signing-gate/config";
import { Gate, type GateOptions } from "../../daemons/signing-gate/gate";
import { Heads } from "../../daemons/signing-gate/heads";
import { LeadershipView } from "../../daemons/signing-gate/leadership";
import { limited } from "../../daemons/signing-gate/limit";
import { lookAtWatermarks } from "../../daemons/signing-gate/look-at-watermarks";
import { MarksMemory } from "../../daemons/signing-gate/memory";
import { sleep } from "../../daemons/runtime/clock";
import { secondsTime, type ConfigMap, type KubeClient, type Outcome } from "../../daemons/runtime/kube";
import type { BlockDisk } from "../checker/schedules/block-disk";
import type { Promises } from "../checker/schedules/promises";
import { chainId } from "../checker/schedules/scene";
import type { SimulatedSigners } from "../checker/schedules/signers";
import { storyLog, type PodParts } from "./containers";
import { recordOf } from "./kube-api";
import { worldBeganMs, type Process } from "./process";

type Writes = Pick<KubeClient, "get" | "replace">;

export class GateContainer {
  readonly leadership: LeadershipView;
  gate: Gate | undefined;
  private memoryProblem: string | null = null;
  private told: { text: string | undefined; status: GateStatus | undefined } | undefined;
  /** The watermarks that the API answered with, and those of them that no flush has brought to the disk yet. */
  private readonly answered = new Map<string, Watermark>();
  private seen: [address: string, record: Watermark][] = [];
  private readonly over = new AbortController();

  constructor(
    readonly process: Process,
    private readonly parts: PodParts,
    private readonly disk: BlockDisk,
    private readonly signers: SimulatedSigners<Process>,
    /** What each disk has to know, by the words of the protocol. */
    private readonly promises: Promises,
  ) {
    this.leadership = new LeadershipView(parts.identity, () => process.clock.nowNs());
  }

  /** Called in the turn of its process. */
  async start(): Promise<void> {
    const { stage, env, identity, ordinal, kube } = this.parts;
    const { file, addresses } = stage;
    const { clock } = this.process;
    const { signal } = this.over;
    const { memory, problem } = await MarksMemory.load(
      ...([this.disk.fileOf(this.process), chainId, addresses, `${this.disk.boots} ${env.TOG_POD_UID}`] as const),
    );
    if (problem !== undefined) this.promises.loseAll(this.disk, addresses);
    const heads = this.heads();
    const client = this.watched(kube.clientOf(ordinal, this.process));
    const gate = (this.gate = new Gate({
      ...{ baker: file.baker, chainId, identity, keys: gateKeys(file), timings: file.timings, memory, clock, sleep },
      ...{ leadership: this.leadership, log: storyLog(this.parts, this.process), heads },
      kube: limited(client, file.timings.gateBudgetMs, clock),
      signer: this.signer(),
      onDecision: ({ result }) => stage.counts[result === "signed" ? "signatures" : "refusals"]++,
    }));
    void heads.run(signal);
    void lookAtWatermarks({
      ...{ baker: file, gate, kube: client, clock, sleep, podAddress: env.TOG_POD_ADDRESS, signal },
      memory: this.noticed(memory),
      onFlush: (why) => (this.memoryProblem = why),
    });
  }

  hear(record: Leadership): void {
    this.leadership.update(record);
  }

  private heads(): Heads {
    const { stage, env, node, documents } = this.parts;
    const { timings } = stage.file;
    const { clock } = this.process;
    return new Heads({
      ...{ rpc: `http://127.0.0.1:${ports.octezRpc}`, chainId, timings, clock, podAddress: env.TOG_POD_ADDRESS },
      members: async () => {
        const told = await documents.ask(this.process, "elector", timings.requestTimeoutMs);
        return told as MemberRecord[] | undefined;
      },
      exchange: async (url) => {
        await sleep(stage.world.between(1, 5));
        const { head } = node;
        if (!node.answers || !head) return { ok: false, reason: "network", detail: "no node", sent: false };
        const timestamp = secondsTime(worldBeganMs + head.atMs);
        const body = url.pathname.endsWith("header")
          ? { chain_id: chainId, level: head.level, timestamp, protocol: "P" }
          : { aggregate_attestation: false, minimal_block_delay: "6" };
        return { ok: true, status: 200, body: JSON.stringify(body) };
      },
    });
  }

  /** Notes what the API says, for what this disk has to know. */
  private watched(kube: KubeClient): Writes {
    const note = <T extends Outcome<ConfigMap>>(outcome: T): T => {
      if (!outcome.ok) return outcome;
      const record = recordOf(outcome.object);
      const address = this.parts.stage.file.keys.find((key) => key.watermark === outcome.object.metadata.name)?.address;
      if (!record || address === undefined) return outcome;
      this.answered.set(address, record);
      this.seen.push([address, record]);
      return outcome;
    };
    const early = this.parts.stage.sabotage === "forwards-before-the-mark";
    const api = kube as { get: Ask; replace: Put };
    const replace: Put = (resource, object, options) => {
      this.promises.writes(this.disk, this.addressOf(object));
      const answer = api.replace(resource, object, options).then(note);
      return early ? Promise.resolve({ ok: true, object, sentAtMs: this.process.clock.now() }) : answer;
    };
    const get: Ask = (...given) => api.get(...given).then(note);
    return { get, replace } as unknown as Writes;
  }
  private addressOf({ metadata }: ConfigMap): string {
    return this.parts.stage.file.keys.find((key) => key.watermark === metadata.name)?.address ?? "";
  }

  /** What was seen before a flush that succeeds has to be known from then on. */
  private noticed(memory: MarksMemory): Pick<MarksMemory, "flush" | "within"> {
    const flush = () => {
      const seen = this.seen.splice(0);
      return memory.flush().then(
        () => seen.forEach(([address, record]) => this.promises.learn(this.disk, address, record)),
        (error: unknown) => {
          this.seen.unshift(...seen);
          throw error;
        },
      );
    };
    return { flush, within: (...given) => memory.within(...given) };
  }

  private signer(): GateOptions["signer"] {
    const { stage, ordinal, env } = this.parts;
    const client = this.signers.clientOf(this.process);
    return {
      sign: (attempt) => {
        const record = this.answered.get(attempt.address);
        if (record) this.promises.learn(this.disk, attempt.address, record);
        if (stage.suffers(ordinal, "signers-away"))
          return Promise.resolve({ ok: false, reason: "signer-unavailable", detail: "", mayHaveSigned: false });
        stage.tell(
          `${env.TOG_POD_NAME} signing-gate: forwards ${attempt.kind === "attestation" ? "an" : "a"} ${attempt.kind} ${attempt.address.slice(0, 12)}`,
        );
        return client.sign({ ...attempt, deadlineMs: this.process.worldMs(attempt.deadlineMs) });
      },
    };
  }

  /** The same object as before where nothing has changed. */
  document(): GateStatus | undefined {
    const status = this.status();
    const text = JSON.stringify(status);
    if (text !== this.told?.text) this.told = { text, status };
    return this.told?.status;
  }
  private status(): GateStatus | undefined {
    const { stage, ordinal } = this.parts;
    const signersAnswering = stage.suffers(ordinal, "signers-away") ? 0 : 2;
    const status = this.gate?.status();
    return (
      status && {
        ...status,
        keys: status.keys.map((key) => ({ ...key, signers: 2, signersAnswering })),
        ...{ memoryProblem: this.memoryProblem, signers: [], signersAnswering, refusedByWatermark: 0 },
      }
    );
  }
}

type Ask = (resource: "configmaps", name: string, options: object) => Promise<Outcome<ConfigMap>>;
type Put = (resource: "configmaps", object: ConfigMap, options: object) => Promise<Outcome<ConfigMap>>;
