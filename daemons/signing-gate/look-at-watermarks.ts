/**
 * The regular look at every watermark. In standby, too: the highest marks tell a rewound watermark from a good one when
 * this pod takes over.
 */
import type { BakerFile } from "../../contract/baker-file";
import { watermarkName } from "../../contract/names";
import { slowRequestMs } from "../../contract/timings";
import { untilBeat, type Clock } from "../runtime/clock";
import type { KubeClient } from "../runtime/kube";
import type { Gate } from "./gate";
import type { GateOptions } from "./gate-options";
import type { MarksMemory } from "./memory";

/** Until `signal` aborts. @param onFlush why what was seen could not be written to the disk, or null where it could */
export async function lookAtWatermarks(o: {
  baker: Pick<BakerFile, "keys" | "timings">;
  gate: Gate;
  kube: Pick<KubeClient, "get">;
  memory: Pick<MarksMemory, "flush" | "within">;
  clock: Clock;
  sleep: GateOptions["sleep"];
  podAddress: string;
  signal: AbortSignal;
  onFlush: (problem: string | null) => void;
}): Promise<void> {
  const { gate, kube, memory, clock, sleep, signal, onFlush } = o;
  const { keys, timings } = o.baker;
  while (!signal.aborted) {
    for (const { address } of keys) {
      const timeoutMs = slowRequestMs(timings);
      const outcome = await kube.get("configmaps", watermarkName(address), { timeoutMs, signal });
      if (outcome.ok) gate.look(address, outcome.object);
      else if (outcome.kind === "not-found") gate.look(address, undefined);
      else break;
    }
    const written = memory.within(memory.flush(), 1000 * timings.memberRenewSeconds, sleep);
    await written.then(
      () => onFlush(null),
      (error: unknown) => onFlush(String(error)),
    );
    await sleep(untilBeat(clock, 2000 * timings.memberRenewSeconds, o.podAddress), signal);
  }
}
