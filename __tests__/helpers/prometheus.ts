/**
 * A Prometheus (Debian's package) that scrapes the pods of a laboratory as the chart's PodMonitor would, with our alert
 * rules.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import { ports } from "../../contract/ports";
import type { Lab } from "../../lab/lab";

/** Why it cannot run here, or "". */
export const prometheusMissing = (): string =>
  spawnSync("prometheus", ["--version"]).status === 0 ? "" : "prometheus is not installed (apt-get install prometheus)";

const scraped = [
  ports.sidecar,
  ports.elector,
  ports.supervisor,
  ports.gateHealth,
  ports.nonceExposer,
  ports.nonceImporter,
  ports.octezMetrics,
];

export interface Series {
  metric: Record<string, string>;
  values: [number, string][];
}

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address ? address.port : 0));
    });
  });

export class Prometheus {
  private readonly folder = mkdtempSync(join(tmpdir(), "tog-prometheus-"));
  private child: ChildProcess | undefined;
  private timer: NodeJS.Timeout | undefined;
  private url = "";
  output = "";

  async start(lab: Lab, rules: string): Promise<void> {
    const targets = join(this.folder, "targets.json");
    const write = () => {
      const list = lab.cluster
        .bakingMembers()
        .flatMap(({ pod }) => scraped.map((port) => `${pod.options.address}:${port}`));
      writeFileSync(`${targets}.new`, JSON.stringify([{ targets: list }]));
      renameSync(`${targets}.new`, targets);
    };
    write();
    // Pods come back with other addresses.
    this.timer = setInterval(write, 1000);
    const config = join(this.folder, "prometheus.yml");
    writeFileSync(
      config,
      stringify({
        global: { scrape_interval: "5s", evaluation_interval: "5s" },
        rule_files: [rules],
        scrape_configs: [
          { job_name: "bakers", honor_labels: true, file_sd_configs: [{ files: [targets], refresh_interval: "2s" }] },
        ],
      }),
    );
    const address = `127.0.0.1:${await freePort()}`;
    this.url = `http://${address}`;
    const data = join(this.folder, "data");
    this.child = spawn(
      "prometheus",
      [`--config.file=${config}`, `--storage.tsdb.path=${data}`, `--web.listen-address=${address}`],
      {
        stdio: ["ignore", "pipe", "pipe"],
      },
    );
    for (const stream of [this.child.stdout, this.child.stderr])
      stream?.on("data", (chunk: Buffer) => (this.output += chunk.toString()));
    for (let attempt = 0; attempt < 100; attempt++) {
      if ((await fetch(`${this.url}/-/ready`).catch(() => undefined))?.ok) return;
      await new Promise((done) => setTimeout(done, 200));
    }
    throw new Error(`prometheus is not ready:\n${this.output}`);
  }

  private async get<T>(path: string, query: Record<string, string>): Promise<T> {
    const response = await fetch(`${this.url}/api/v1/${path}?${new URLSearchParams(query).toString()}`);
    const answer = (await response.json()) as { status: string; data: T; error?: string };
    if (answer.status !== "success") throw new Error(`${query.query}: ${answer.error}`);
    return answer.data;
  }
  /** Over the last `seconds`. */
  async range(expression: string, seconds: number): Promise<Series[]> {
    const end = Date.now() / 1000;
    const query = { query: expression, start: String(end - seconds), end: String(end), step: "5" };
    return (await this.get<{ result: Series[] }>("query_range", query)).result;
  }
  /** Scrapes that succeed now, and all of them. */
  async targets(): Promise<{ up: number; all: number }> {
    const { activeTargets } = await this.get<{ activeTargets: { health: string }[] }>("targets", { state: "active" });
    return { up: activeTargets.filter((target) => target.health === "up").length, all: activeTargets.length };
  }

  async stop(): Promise<void> {
    clearInterval(this.timer);
    const { child } = this;
    if (child?.exitCode === null) {
      const gone = new Promise((done) => child.once("exit", done));
      child.kill("SIGKILL");
      await gone;
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}
