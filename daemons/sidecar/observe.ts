/**
 * Keeps a sidecar's state: follows the head stream, asks for the header once a period, for connections and sync state
 * every fifth time.
 */
import { sleep, untilBeat, type Clock } from "../runtime/clock";
import type { Head, OctezRpc, RpcOutcome } from "../runtime/octez-rpc";
import { emptyState, withHead, type Answer, type Problem, type SidecarState } from "./assess";

const problemOf = (outcome: Extract<RpcOutcome<unknown>, { ok: false }>, atMs: number): Problem => ({
  code: outcome.kind === "unreachable" ? "unreachable" : outcome.kind === "timeout" ? "no-answer" : "not-understood",
  message: outcome.message,
  atMs,
});

interface Asked<T> {
  answer: Answer<T> | undefined;
  problem: Problem | undefined;
}

export interface ObserverOptions {
  rpc: OctezRpc;
  clock: Clock;
  pollMs: number;
  podAddress: string;
  /** After each answer. */
  onChange: (state: SidecarState) => void;
  /** After what others should hear: each header poll, each head of the stream, another number of connections. */
  onNews: () => void;
  onFailure: (question: string, kind: string) => void;
}

export class Observer {
  state: SidecarState = emptyState;

  constructor(private readonly o: ObserverOptions) {}

  /** Ends when `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { rpc, clock, pollMs, podAddress } = this.o;
    const onHead = (head: Head): void => {
      this.update(withHead(this.state, head, clock.now(), this.now()));
      this.o.onNews();
    };
    const stream = rpc.followHeads(onHead, {
      signal,
      idleMs: 60 * pollMs,
      onEnd: (reason) => this.o.onFailure("heads", reason.split(":")[0] ?? ""),
    });
    for (let turn = 0; !signal.aborted; turn++) {
      await this.poll(turn, signal);
      await sleep(untilBeat(clock, pollMs, podAddress), signal);
    }
    await stream;
  }

  private async poll(turn: number, signal: AbortSignal): Promise<void> {
    const { rpc } = this.o;
    const wanted = { timeoutMs: 2 * this.o.pollMs, signal };
    const rest =
      turn % 5 === 0
        ? Promise.all([rpc.connections(wanted), rpc.bootstrapped(wanted)] as const)
        : Promise.resolve(undefined);
    const header = await rpc.header(wanted);
    if (!signal.aborted) {
      const { state } = this;
      const seen = header.ok ? withHead(state, header.value, header.sentAtMs, this.now()) : state;
      this.update({ ...seen, header: this.after("header", state.header, header) });
      this.o.onNews();
    }
    const answers = await rest;
    if (!answers || signal.aborted) return;
    const [connections, bootstrapped] = answers;
    const before = this.state.connections.answer?.value;
    this.update({
      ...this.state,
      connections: this.after("connections", this.state.connections, connections),
      syncState: bootstrapped.ok ? bootstrapped.value.syncState : undefined,
    });
    if (this.state.connections.answer?.value !== before) this.o.onNews();
  }

  private update(state: SidecarState): void {
    this.state = state;
    this.o.onChange(state);
  }

  private now(): { monotonicMs: number; wallMs: number } {
    return { monotonicMs: this.o.clock.now(), wallMs: this.o.clock.wall() };
  }

  private after<T>(question: string, before: Asked<T>, outcome: RpcOutcome<T>): Asked<T> {
    if (outcome.ok) return { answer: { value: outcome.value, sentAtMs: outcome.sentAtMs }, problem: undefined };
    this.o.onFailure(question, outcome.kind);
    return { ...before, problem: problemOf(outcome, this.o.clock.now()) };
  }
}
