/**
 * Looks at each new head for slots that the delegate missed, and counts them with their cause. Costs two questions to
 * the node a head.
 */
import type { BakerFile } from "../../contract/baker-file";
import { leadershipSchema } from "../../contract/leadership";
import { ports } from "../../contract/ports";
import { gateStatusSchema } from "../../contract/status";
import { getJson } from "../runtime/http-get";
import type { Log } from "../runtime/log";
import { Counter, type Registry } from "../runtime/metrics";
import { missedBetween, type Account } from "../runtime/missed-levels";
import type { Head, OctezRpc } from "../runtime/octez-rpc";
import type { Wake } from "../runtime/wake";
import { causeOf, slotCauses, type PodView } from "./slots";

export interface SlotWatch {
  /** Ends when `signal` aborts. */
  run(signal: AbortSignal): Promise<void>;
}

export function watchSlots(options: {
  file: BakerFile;
  /** Pod address, where elector and gate answer. */
  host: string;
  rpc: OctezRpc;
  log: Log;
  metrics: Registry;
  pollMs: number;
  head: () => Head | undefined;
  /** Kicked at each new head. */
  newHead: Wake;
  nodeReady: () => boolean;
}): SlotWatch {
  const { file, host, rpc, log, pollMs } = options;
  const { delegate } = file;
  const slots = new Counter({
    name: "tog_sidecar_slots_total",
    help: "Slots of the delegate that were missed while this pod watched, by kind and cause",
    labelNames: ["delegate", "kind", "result", "cause"],
    registers: [options.metrics],
  });
  // Series that begin at zero, so that the first miss is an increase.
  for (const kind of ["attestation", "block"])
    for (const cause of slotCauses) slots.inc({ delegate, kind, result: "missed", cause }, 0);

  let account: Account | undefined;
  let epochBefore: number | undefined;
  let refusedBefore: number | undefined;
  const timeoutMs = 2 * pollMs;
  const fenced = file.topology === "active-standby";
  const optional = async <T>(url: string, read: (answer: unknown) => T): Promise<T | undefined> => {
    try {
      return fenced ? read(await getJson(url, { timeoutMs })) : undefined;
    } catch {
      return undefined;
    }
  };

  async function look(signal: AbortSignal): Promise<void> {
    const head = options.head();
    if (!head || head.level === account?.level) return;
    const wanted = { timeoutMs, signal };
    const [participation, rights] = await Promise.all([
      rpc.participation({ ...wanted, delegate }),
      rpc.bakingRights({ ...wanted, levels: [head.level], delegates: [delegate], maxRound: 0 }),
    ]);
    // An unregistered delegate has no account; a node that is syncing shows the past.
    if (!participation.ok || !options.nodeReady()) {
      account = undefined;
      return;
    }
    const before = account;
    account = { level: head.level, missedLevels: participation.value.missedLevels };
    const attestations = missedBetween(before, account);
    const block =
      before !== undefined &&
      rights.ok &&
      (head.round ?? 0) > 0 &&
      rights.value.some((right) => right.level === head.level && right.round === 0);
    const [leadership, gate] = await Promise.all([
      optional(`http://${host}:${ports.elector}/leadership`, (answer) => leadershipSchema.parse(answer)),
      optional(`http://${host}:${ports.gateHealth}/status`, (answer) => gateStatusSchema.parse(answer)),
    ]);
    const refused = gate?.refusedByWatermark ?? 0;
    const view: PodView = {
      nodeReady: options.nodeReady(),
      leadership,
      gate,
      epochBefore,
      refusedSince: refused - (refusedBefore ?? refused),
    };
    epochBefore = leadership?.epoch;
    refusedBefore = refused;
    const cause = causeOf(view);
    if (attestations > 0) {
      slots.inc({ delegate, kind: "attestation", result: "missed", cause }, attestations);
      log.warn("attestation-missed", cause, { levels: attestations, head: head.level });
    }
    if (block) {
      slots.inc({ delegate, kind: "block", result: "missed", cause });
      log.warn("block-missed", cause, { blockLevel: head.level, round: head.round });
    }
  }

  return {
    run: async (signal) => {
      while (!signal.aborted) {
        await look(signal);
        await options.newHead.wait((account ? 60 : 1) * pollMs, signal);
      }
    },
  };
}
