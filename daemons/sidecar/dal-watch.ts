/**
 * Watches the pod's DAL node and what the delegate attests of the DAL, where the configuration has one (docs/dal.md).
 *
 * Guarantees: whether the node is well is judged by its own answers alone, at each poll; a restart is seen as
 * octez-baker feels it, by the end of a stream like its own. Does not: restart anything.
 */
import type { BakerFile } from "../../contract/baker-file";
import type { DalStatus } from "../../contract/status";
import { backoffMs, sleep, type Clock } from "../runtime/clock";
import type { Log } from "../runtime/log";
import { Counter, Gauge, type Registry } from "../runtime/metrics";
import type { OctezRpc } from "../runtime/octez-rpc";
import type { Recent } from "../runtime/recent";
import { assessDal, dalBetween, noDalAnswers, type DalAccount, type DalAnswers, type DalRules } from "./dal";
import type { DalNode } from "./dal-node";

export interface DalWatchOptions {
  file: BakerFile;
  dal: DalNode;
  rpc: Pick<OctezRpc, "dalParticipation">;
  clock: Clock;
  log: Log;
  metrics: Registry;
  recent: Recent;
  pollMs: number;
  /** Level of the pod's own head; undefined while its node is not ready: then nothing is compared with it. */
  head: () => number | undefined;
}

/** Ten polls, 10 s at the defaults: before the kubelet's minute, and long after what a restart takes. */
export const dalRulesOf = (pollMs: number): DalRules => ({ silenceMs: 10 * pollMs, mostLevelsBehind: 3 });

export class DalWatch {
  private answers: DalAnswers = noDalAnswers;
  private account: DalAccount | undefined;
  private restarts = 0;
  private said: string | undefined;
  private readonly slots: Counter;

  constructor(private readonly o: DalWatchOptions) {
    const registers = [o.metrics];
    const gauge = (name: string, help: string, read: (status: DalStatus) => number): void =>
      void new Gauge({
        name,
        help,
        registers,
        collect: function (this: Gauge) {
          this.set(read(status()));
        },
      });
    const status = () => this.status();
    gauge(
      "tog_sidecar_dal_well",
      "1 where the DAL node answers, does not say that it is down, and follows",
      ({ well }) => Number(well),
    );
    gauge("tog_sidecar_dal_peers", "Connections of the DAL node", ({ peers }) => peers ?? 0);
    gauge(
      "tog_sidecar_dal_levels_behind",
      "Final levels that the DAL node has not processed",
      ({ levelsBehind }) => levelsBehind ?? 0,
    );
    gauge(
      "tog_sidecar_dal_restarts",
      "Times that the DAL node ended octez-baker's stream while this process watched",
      ({ restarts }) => restarts,
    );
    this.slots = new Counter({
      name: "tog_sidecar_dal_slots_total",
      help: "Slots of the DAL that the delegate could attest while this pod watched, by what became of them",
      labelNames: ["delegate", "result"],
      registers,
    });
    for (const result of ["attested", "missed"] as const) this.count(result, 0);
  }

  status(): DalStatus {
    const { pollMs, clock, head } = this.o;
    const { account } = this;
    return {
      ...assessDal(this.answers, head(), dalRulesOf(pollMs), clock.now()),
      restarts: this.restarts,
      attestedSlots: account?.attestedSlots ?? null,
      attestableSlots: account?.attestableSlots ?? null,
      sufficient: account?.sufficient ?? null,
    };
  }

  /** Ends when `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.poll(signal), this.follow(signal)]);
  }

  private async poll(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await Promise.all([this.ask(signal), this.askChain(signal)]);
      this.tell();
      await sleep(this.o.pollMs, signal);
    }
  }

  private async ask(signal: AbortSignal): Promise<void> {
    const { dal, pollMs, clock } = this.o;
    const wanted = { timeoutMs: 2 * pollMs, signal };
    const sentAtMs = clock.now();
    try {
      // The first question alone says whether it answers; the others refine what it says.
      const health = { value: await dal.health(wanted), sentAtMs };
      const [processed, peers] = await Promise.allSettled([dal.lastProcessedLevel(wanted), dal.connections(wanted)]);
      const value = <T>(result: PromiseSettledResult<T>) => (result.status === "fulfilled" ? result.value : undefined);
      this.answers = { health, problem: "", processedLevel: value(processed), peers: value(peers) };
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      if (!signal.aborted) this.answers = { ...this.answers, problem };
    }
  }

  private async askChain(signal: AbortSignal): Promise<void> {
    const { rpc, file, pollMs, head, log } = this.o;
    const level = head();
    if (level === undefined || level === this.account?.level) return;
    const answer = await rpc.dalParticipation({ delegate: file.delegate, timeoutMs: 2 * pollMs, signal });
    // An unregistered delegate has no account; what a node missed is counted with its next answer.
    if (!answer.ok) return;
    const before = this.account;
    this.account = { level, ...answer.value };
    const { attested, missed } = dalBetween(before, this.account);
    this.count("attested", attested);
    this.count("missed", missed);
    if (missed > 0) log.warn("dal-slots-missed", `${missed} of ${attested + missed}`, { head: level });
  }

  private async follow(signal: AbortSignal): Promise<void> {
    const { dal, file, log, recent, pollMs } = this.o;
    for (let failures = 0; !signal.aborted; failures++) {
      let opened = false;
      const ended = await dal.followAttestableSlots(file.delegate, () => (opened = true), signal);
      if (signal.aborted) return;
      // A quiet day, or an object that is not understood, is our own end of it: octez-baker's goes on.
      if (opened && (ended.end === "clean" || ended.end === "cut")) {
        failures = 0;
        this.restarts++;
        log.warn("dal-stream-ended", ended.message, { end: ended.end });
        recent.note("dal-restart", "the DAL node ended the stream that octez-baker follows: it restarted");
      }
      await sleep(backoffMs(failures, pollMs / 4, 5 * pollMs), signal);
    }
  }

  /** Logs each other reason why it is not well, and its recovery. */
  private tell(): void {
    const { well, reason } = this.status();
    const now = reason.split(":")[0] ?? "";
    if (now === this.said) return;
    const first = this.said === undefined;
    this.said = now;
    if (!well) this.o.log.warn("dal-not-well", reason);
    else if (!first) this.o.log.info("dal-well", "the DAL node is well");
  }

  private count(result: "attested" | "missed", number: number): void {
    this.slots.inc({ delegate: this.o.file.delegate, result }, number);
  }
}
