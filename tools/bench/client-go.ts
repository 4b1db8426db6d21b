/**
 * `npm run bench -- client-go [--runs N] [--out FILE]`: seconds from the end of the holder until another member holds,
 * of Kubernetes' own client-go elector (tools/client-go-elector, real processes) and of ours beside it, at the timings
 * of both, against one kind of API. The holder is killed (SIGKILL) or frozen (SIGSTOP) at any phase of its renewals.
 * Needs Go and its module proxy; without Go nothing is measured, and that is said.
 */
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { defaultTimings, timingsSchema, type Timings } from "../../contract/timings";
import { sleep } from "../../daemons/runtime/clock";
import { KubeApi } from "../../lab/kube-api";
import { percentile, type Bench, type BenchResult } from "../bench";
import { clientGo, option, takeover } from "./election";

const electors = ["ours", "client-go"] as const;
const faults = { kill: "SIGKILL", freeze: "SIGSTOP" } as const;
type Fault = keyof typeof faults;
const timings: Readonly<Record<string, Timings>> = {
  "6/5/1": timingsSchema.parse(defaultTimings),
  "15/10/2": clientGo,
};

export interface Takeover {
  elector: (typeof electors)[number];
  /** Lease duration, renewal deadline and retry period, seconds. */
  timings: string;
  fault: Fault;
  seconds: number;
}
export interface ClientGoReport {
  date: string;
  load: number[];
  takeovers: Takeover[];
}

/** Of the real client-go: two processes, one lease. @returns seconds until the second one held */
async function realTakeover(binary: string, t: Timings, fault: Fault): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), "tog-client-go-"));
  const api = new KubeApi();
  const children: ChildProcess[] = [];
  try {
    await api.start();
    api.addAdmin("token");
    const kubeconfig = join(folder, "config");
    writeFileSync(kubeconfig, api.kubeconfig("token", "tezos"));
    const member = (identity: string): { child: ChildProcess; acquired: Promise<number> } => {
      const durations = { "lease-duration": t.leaseSeconds, "renew-deadline": t.renewDeadlineSeconds };
      const child = spawn(binary, [
        ...["--kubeconfig", kubeconfig, "--namespace", "tezos", "--lease", "compared", "--identity", identity],
        ...Object.entries({ ...durations, "retry-period": t.retrySeconds }).map(([name, s]) => `--${name}=${s}s`),
      ]);
      children.push(child);
      const acquired = new Promise<number>((done, failed) => {
        child.once("exit", (code) => failed(new Error(`client-go's elector ended with code ${code}`)));
        let text = "";
        child.stdout.on("data", (data: Buffer) => {
          text += data.toString();
          const line = text.split("\n").find((entry) => entry.includes('"acquired"'));
          if (line) done((JSON.parse(line) as { atMs: number }).atMs);
        });
      });
      acquired.catch(() => undefined);
      return { child, acquired };
    };
    const first = member("a");
    await first.acquired;
    const second = member("b");
    await sleep(1000 * t.retrySeconds * (2 + Math.random()));
    const atMs = new Date().getTime();
    first.child.kill(faults[fault]);
    return ((await second.acquired) - atMs) / 1000;
  } finally {
    for (const child of children) child.kill("SIGKILL");
    await api.dispose();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** @returns the program, or why there is none */
function build(folder: string): { binary: string } | { missing: string } {
  const binary = join(folder, "client-go-elector");
  const built = spawnSync("go", ["build", "-o", binary, "."], {
    cwd: resolve(__dirname, "../client-go-elector"),
    ...{ encoding: "utf8", env: { ...process.env, CGO_ENABLED: "0" } },
  });
  if (built.error) return { missing: `go cannot be run: ${built.error.message}` };
  return built.status === 0 ? { binary } : { missing: `go build failed: ${built.stderr.trim().slice(0, 500)}` };
}

export interface Summary extends Omit<Takeover, "seconds"> {
  seconds: number[];
}
/** The takeovers of each elector at each of the timings, fault by fault. */
export const summaries = ({ takeovers }: ClientGoReport): Summary[] =>
  Object.keys(timings).flatMap((name) =>
    (Object.keys(faults) as Fault[]).flatMap((fault) =>
      electors.flatMap((elector) => {
        const of = takeovers.filter((one) => one.elector === elector && one.timings === name && one.fault === fault);
        return of.length === 0 ? [] : [{ elector, timings: name, fault, seconds: of.map(({ seconds }) => seconds) }];
      }),
    ),
  );

const resultsOf = (report: ClientGoReport): BenchResult[] =>
  summaries(report).flatMap(({ elector, timings: name, fault, seconds }) => {
    const metric = `${elector} at ${name} s, holder ${fault === "kill" ? "killed" : "frozen"}`;
    return [
      { metric: `${metric}, p50 of ${seconds.length}`, unit: "s", value: Number(percentile(seconds, 50).toFixed(2)) },
      { metric: `${metric}, worst`, unit: "s", value: Number(Math.max(...seconds).toFixed(2)) },
    ];
  });

export const bench: Bench = async (args, progress) => {
  const runs = option(args, "--runs", 3);
  const out = args.includes("--out") ? args[args.indexOf("--out") + 1] : undefined;
  const folder = mkdtempSync(join(tmpdir(), "tog-client-go-build-"));
  const report: ClientGoReport =
    out !== undefined && existsSync(out)
      ? (JSON.parse(readFileSync(out, "utf8")) as ClientGoReport)
      : { date: new Date().toISOString().slice(0, 10), load: [], takeovers: [] };
  try {
    const built = build(folder);
    if ("missing" in built) {
      progress(`skipped: ${built.missing}`);
      return [];
    }
    for (let run = 0; run < runs; run++)
      for (const [name, t] of Object.entries(timings))
        for (const fault of Object.keys(faults) as Fault[]) {
          const [real, ours] = await Promise.all([
            realTakeover(built.binary, t, fault),
            takeover(t, faults[fault]).then(({ acquiredMs }) => acquiredMs / 1000),
          ]);
          for (const [elector, seconds] of [["ours", ours] as const, ["client-go", real] as const])
            report.takeovers.push({ elector, timings: name, fault, seconds: Number(seconds.toFixed(3)) });
          report.load.push(Number((loadavg()[0] ?? 0).toFixed(1)));
          progress(`${run + 1}/${runs} ${name} ${fault}: ours ${ours.toFixed(2)} s, client-go ${real.toFixed(2)} s`);
          if (out !== undefined) writeFileSync(out, `${JSON.stringify(report, null, 1)}\n`);
        }
    return resultsOf(report);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
};
