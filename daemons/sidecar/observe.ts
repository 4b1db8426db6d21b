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

export interface Observer {
  state(): SidecarState;
  /** Ends when `signal` aborts. */
  run(signal: AbortSignal): Promise<void>;
}

export function createObserver(options: {
  rpc: OctezRpc;
  clock: Clock;
  pollMs: number;
  podAddress: string;
  /** After each answer. */
  onChange: (state: SidecarState) => void;
  /** After what others should hear: each header poll, each head of the stream, another number of connections. */
  onNews: () => void;
  onFailure: (question: string, kind: string) => void;
}): Observer {
  const { rpc, clock, pollMs } = options;
  let state: SidecarState = emptyState;
  const update = (next: SidecarState): void => {
    state = next;
    options.onChange(state);
  };
  const now = () => ({ monotonicMs: clock.now(), wallMs: clock.wall() });
  const after = <T>(
    question: string,
    before: { answer: Answer<T> | undefined; problem: Problem | undefined },
    outcome: RpcOutcome<T>,
  ): { answer: Answer<T> | undefined; problem: Problem | undefined } => {
    if (outcome.ok) return { answer: { value: outcome.value, sentAtMs: outcome.sentAtMs }, problem: undefined };
    options.onFailure(question, outcome.kind);
    return { ...before, problem: problemOf(outcome, clock.now()) };
  };

  async function poll(turn: number, signal: AbortSignal): Promise<void> {
    const wanted = { timeoutMs: 2 * pollMs, signal };
    const rest =
      turn % 5 === 0
        ? Promise.all([rpc.connections(wanted), rpc.bootstrapped(wanted)] as const)
        : Promise.resolve(undefined);
    const header = await rpc.header(wanted);
    if (!signal.aborted) {
      const seen = header.ok ? withHead(state, header.value, header.sentAtMs, now()) : state;
      update({ ...seen, header: after("header", state.header, header) });
      options.onNews();
    }
    const answers = await rest;
    if (!answers || signal.aborted) return;
    const [connections, bootstrapped] = answers;
    const before = state.connections.answer?.value;
    update({
      ...state,
      connections: after("connections", state.connections, connections),
      syncState: bootstrapped.ok ? bootstrapped.value.syncState : undefined,
    });
    if (state.connections.answer?.value !== before) options.onNews();
  }

  return {
    state: () => state,
    run: async (signal) => {
      const onHead = (head: Head): void => {
        update(withHead(state, head, clock.now(), now()));
        options.onNews();
      };
      const stream = rpc.followHeads(onHead, {
        signal,
        idleMs: 60 * pollMs,
        onEnd: (reason) => options.onFailure("heads", reason.split(":")[0] ?? ""),
      });
      for (let turn = 0; !signal.aborted; turn++) {
        await poll(turn, signal);
        await sleep(untilBeat(clock, pollMs, options.podAddress), signal);
      }
      await stream;
    },
  };
}
