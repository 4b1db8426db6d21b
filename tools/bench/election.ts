/**
 * Takeover and handover among real processes (two electors, two supervisors, a baker that starts in some 50 ms) against
 * the embedded API. One run measures our default timings and, beside them, client-go's 15/10/2 in the same elector.
 * `--runs N` (default 3); `--handovers N` (default 10).
 */
import { sleep } from "../../daemons/runtime/clock";
import { timingsSchema, type Timings } from "../../contract/timings";
import { Cluster, type Entry } from "../../__tests__/helpers/election";
import { embeddedSubject } from "../../__tests__/helpers/election-subject";
import { judged, percentile, type Bench, type BenchResult } from "../bench";

/** LeaseDuration 15 s, RenewDeadline 10 s, RetryPeriod 2 s. */
export const clientGo: Timings = timingsSchema.parse({ leaseSeconds: 15, renewDeadlineSeconds: 10, retrySeconds: 2 });

export function option(args: readonly string[], name: string, fallback: number): number {
  const at = args.indexOf(name);
  const value = at < 0 ? fallback : Number(args[at + 1]);
  if (!Number.isInteger(value) || value < 1)
    throw new Error(`${name} takes a whole number above 0, got ${args[at + 1] ?? "nothing"}`);
  return value;
}

/** Milliseconds from the fault of the whole pod until the other one has acquired, and until its baker runs. */
export async function takeover(
  timings: Timings | undefined,
  fault: "SIGKILL" | "SIGSTOP" = "SIGKILL",
): Promise<{ acquiredMs: number; runningMs: number; overlapMs: number }> {
  const subject = await embeddedSubject();
  const cluster = new Cluster(subject, 1, timings);
  try {
    await cluster.start();
    const first = await cluster.running(cluster.pods, 90_000);
    const other = cluster.other(first);
    await cluster.until("the other one is eligible", () =>
      cluster.log.some((e) => e.uid === other.uid && e.event === "eligible"),
    );
    // At any phase of the renewals.
    await sleep(2 * cluster.timings.retrySeconds * 1000 + Math.random() * 1000 * cluster.timings.retrySeconds);
    const killedAtMs = cluster.nowMs();
    const wall = new Date().getTime();
    first.signal(fault);
    await cluster.running([other], 90_000);
    const began = cluster.runs().find((run) => run.pod === other.identity)?.fromMs ?? NaN;
    const acquired = cluster.log.find((e: Entry) => e.uid === other.uid && e.event === "acquired")?.atMs ?? NaN;
    return { acquiredMs: acquired - wall, runningMs: began - killedAtMs, overlapMs: cluster.overlapMs() };
  } finally {
    await cluster.stop();
    await subject.stop();
  }
}

/**
 * Milliseconds from the release of a planned handover until the other one has acquired, and from its last baker to the
 * next.
 */
async function handovers(count: number): Promise<{ acquiredMs: number[]; gapMs: number[]; overlapMs: number }> {
  const subject = await embeddedSubject();
  const cluster = new Cluster(subject, 1);
  try {
    await cluster.start();
    let master = await cluster.running(cluster.pods, 90_000);
    const [acquiredMs, gapMs]: number[][] = [[], []];
    for (let i = 0; i < count; i++) {
      const next = cluster.other(master);
      await cluster.until("the other one is known to be eligible", async () =>
        ((await master.get(4040, "/members")) as { identity: string; eligible: boolean }[] | null)?.some(
          (m) => m.identity === next.identity && m.eligible,
        ),
      );
      await cluster.prefer(next);
      await cluster.running([next], 60_000);
      const released = cluster.log.filter((e) => e.event === "released" && e.uid === master.uid).at(-1);
      const acquired = cluster.log.filter((e) => e.event === "acquired" && e.uid === next.uid).at(-1);
      acquiredMs?.push((acquired?.atMs ?? NaN) - (released?.atMs ?? NaN));
      const runs = cluster.runs();
      gapMs?.push((runs.at(-1)?.fromMs ?? NaN) - (runs.at(-2)?.toMs ?? NaN));
      master = next;
    }
    return { acquiredMs: acquiredMs ?? [], gapMs: gapMs ?? [], overlapMs: cluster.overlapMs() };
  } finally {
    await cluster.stop();
    await subject.stop();
  }
}

export const bench: Bench = async (args, progress) => {
  const runs = option(args, "--runs", 3);
  const results: BenchResult[] = [];
  let overlapMs = 0;
  for (const [name, timings] of [
    ["our defaults 6/5/1", undefined],
    ["client-go's 15/10/2", clientGo],
  ] as const) {
    const seen: { acquiredMs: number; runningMs: number }[] = [];
    for (let i = 0; i < runs; i++) {
      const one = await takeover(timings);
      overlapMs += one.overlapMs;
      seen.push(one);
      progress(
        `${name}: acquired after ${(one.acquiredMs / 1000).toFixed(2)} s, running after ${(one.runningMs / 1000).toFixed(2)} s`,
      );
    }
    const worst = Math.max(...seen.map((one) => one.acquiredMs)) / 1000;
    const metric = `takeover after kill -9 of the pod, ${name}, worst of ${runs}`;
    results.push(
      timings ? { metric, unit: "s", value: Number(worst.toPrecision(4)) } : judged(metric, "s", worst, "<= 7.5"),
    );
    results.push({
      metric: `the same until the baker runs`,
      unit: "s",
      value: Number((Math.max(...seen.map((one) => one.runningMs)) / 1000).toPrecision(4)),
    });
  }
  const planned = await handovers(option(args, "--handovers", 10));
  overlapMs += planned.overlapMs;
  results.push(
    judged("planned handover, release -> acquired, p50", "ms", percentile(planned.acquiredMs, 50), "<= 300"),
  );
  results.push(judged("planned handover, release -> acquired, worst", "ms", Math.max(...planned.acquiredMs), "<= 300"));
  results.push({
    metric: "planned handover, last baker -> next baker, p50",
    unit: "ms",
    value: Math.round(percentile(planned.gapMs, 50)),
  });
  results.push(judged("overlap of two bakers", "ms", overlapMs, "<= 0"));
  return results;
};
