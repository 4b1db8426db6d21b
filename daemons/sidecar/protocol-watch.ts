/**
 * Asks the pod's node now and then which protocol runs, which one is next and which one the chain votes on, and says of
 * each whether this program knows it. Does not: decide anything by it; the gate judges each request by its own bytes.
 */
import { votingPeriods, type ProtocolsStatus } from "../../contract/status";
import { protocolOf } from "../../tezos/protocols";
import { sleep, systemClock, type Clock } from "../runtime/clock";
import { loadConfig, type DaemonConfig } from "../runtime/config";
import { secondsTime } from "../runtime/kube";
import type { Log } from "../runtime/log";
import type { OctezRpc, RpcOptions, VotingPeriod } from "../runtime/octez-rpc";
import { printFromNode, timeoutMs } from "./print-from-node";

type Rpc = Pick<OctezRpc, "protocols" | "votingPeriod" | "proposal" | "constants">;

const told = (hash: string) => ({ hash, known: protocolOf(hash) !== undefined });

/** Blocks until the voted protocol makes one, where every vote goes well: all periods are as long as this one. */
export function blocksUntilActivation({ kind, remaining, blocks }: VotingPeriod): number {
  return remaining + blocks * (votingPeriods.length - 1 - votingPeriods.indexOf(kind)) + 1;
}

async function askProposal(rpc: Rpc, wallMs: () => number, options: RpcOptions): Promise<ProtocolsStatus["proposal"]> {
  const proposal = await rpc.proposal(options);
  if (!proposal.ok || proposal.value === null) return null;
  const period = await rpc.votingPeriod(options);
  if (!period.ok) return null;
  const constants = await rpc.constants(options);
  const ms = constants.ok
    ? blocksUntilActivation(period.value) * constants.value.minimalBlockDelaySeconds * 1000
    : undefined;
  const activatesAt = ms === undefined ? null : secondsTime(wallMs() + ms);
  return { ...told(proposal.value), period: period.value.kind, activatesAt };
}

/** @throws Error where the node does not tell its protocols; what it tells of votes is optional */
export async function askProtocols(rpc: Rpc, wallMs: () => number, options: RpcOptions): Promise<ProtocolsStatus> {
  const protocols = await rpc.protocols(options);
  if (!protocols.ok) throw new Error(`the node does not tell its protocols: ${protocols.message}`);
  const { running, next } = protocols.value;
  return { running: told(running), next: told(next), proposal: await askProposal(rpc, wallMs, options) };
}

export interface ProtocolWatchOptions {
  rpc: Rpc;
  clock: Clock;
  log: Log;
  pollMs: number;
  /** One that still catches up tells what ran long ago. */
  nodeReady: () => boolean;
}

export class ProtocolWatch {
  private last: ProtocolsStatus | undefined;
  private said = new Set<string>();

  constructor(private readonly o: ProtocolWatchOptions) {}

  /** Undefined until the node has told them. */
  status(): ProtocolsStatus | undefined {
    return this.last;
  }

  /** Asks every 300 polls, five minutes at the defaults, and sooner until it is told. Ends when `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { pollMs, nodeReady } = this.o;
    while (!signal.aborted) {
      const answered = nodeReady() && (await this.ask(signal));
      await sleep((answered ? 300 : nodeReady() ? 15 : 1) * pollMs, signal);
    }
  }

  private async ask(signal: AbortSignal): Promise<boolean> {
    const { rpc, clock, pollMs } = this.o;
    try {
      this.last = await askProtocols(rpc, () => clock.wall(), { timeoutMs: 5 * pollMs, signal });
    } catch {
      return false;
    }
    const { running, next, proposal } = this.last;
    for (const one of [running, next, ...(proposal ? [proposal] : [])]) this.tell(one);
    return true;
  }

  /** Logs each unknown one once. */
  private tell({ hash, known }: { hash: string; known: boolean }): void {
    if (known || this.said.has(hash)) return;
    this.said.add(hash);
    this.o.log.warn("protocol-unknown", hash);
  }
}

/** `tog sidecar protocols`: the same for a person. */
export const printProtocols = (config: DaemonConfig = loadConfig("sidecar")): Promise<void> =>
  printFromNode(config, (rpc) => askProtocols(rpc, () => systemClock.wall(), { timeoutMs }));
