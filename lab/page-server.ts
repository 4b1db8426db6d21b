/**
 * Serves the page from this machine alone: files of lab/page and of node_modules, the state as server-sent events,
 * faults as POST.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { readFileSync } from "node:fs";
import { randomBytes } from "node:crypto";
import { join, resolve } from "node:path";
import { z } from "zod";
import { annotations, memberLeaseName, watermarkDataKey, watermarkName } from "../contract/names";
import { memberRecordSchema, type MemberRecord } from "../contract/status";
import { readWatermark } from "../contract/watermark";
import type { LevelRecord } from "./chain/chain";
import { directions, type Member } from "./cluster/cluster";
import { faultArgumentsSchema, faults, inject } from "./faults/faults";
import type { Lab, LabEvent } from "./lab";
import { failoverGap, timelineOf, type TimelineEntry } from "./scenarios/run";
import type { Scenario } from "./scenarios/scenario";

const root = resolve(__dirname, "..");
const modules = (path: string) => join(root, "node_modules", path);
const files: Record<string, { file: string; type: string }> = {
  "/app.js": { file: join(root, "lab/page/app.js"), type: "text/javascript" },
  "/style.css": { file: join(root, "lab/page/style.css"), type: "text/css" },
  "/vendor/preact.js": { file: modules("preact/dist/preact.module.js"), type: "text/javascript" },
  "/vendor/hooks.js": { file: modules("preact/hooks/dist/hooks.module.js"), type: "text/javascript" },
  "/vendor/htm.js": { file: modules("htm/dist/htm.module.js"), type: "text/javascript" },
  "/vendor/htm-preact.js": { file: modules("htm/preact/index.module.js"), type: "text/javascript" },
  "/vendor/uplot.js": { file: modules("uplot/dist/uPlot.esm.js"), type: "text/javascript" },
  "/vendor/uplot.css": { file: modules("uplot/dist/uPlot.min.css"), type: "text/css" },
};
const importMap = JSON.stringify({
  imports: {
    ...{ preact: "/vendor/preact.js", "preact/hooks": "/vendor/hooks.js", htm: "/vendor/htm.js" },
    ...{ "htm/preact": "/vendor/htm-preact.js", uplot: "/vendor/uplot.js" },
  },
});

/** What one case looked like: from a fault until signing goes on. */
export interface CaseReceipt {
  id: number;
  title: string;
  at: string;
  from: string;
  to: string;
  cause: string;
  missedLevels: number;
  missed: number[];
  failoverSeconds: number;
  overlapMs: number;
  violations: number;
  open: boolean;
  timeline: TimelineEntry[];
}

/**
 * Who signs by the chain: who attested the last level that is attested or missed. Not whose process runs: a frozen one
 * runs, too, and one that may not sign does not sign. Undefined where nobody does, or that level is older than three
 * blocks.
 */
export function signerOf(
  levels: readonly Pick<LevelRecord, "attestedBy" | "attestationMissed" | "atMs">[],
  oldestMs = -Infinity,
): string | undefined {
  const last = levels.findLast((level) => level.attestedBy !== null || level.attestationMissed === true);
  return last && last.atMs >= oldestMs ? (last.attestedBy ?? undefined) : undefined;
}

/** Opens a case at each fault and closes it when three levels in a row are attested. */
class Cases {
  readonly receipts: CaseReceipt[] = [];
  private current: { t0: number; level: number; from: string; title: string; id: number } | undefined;

  constructor(private readonly lab: Lab) {
    lab.on("event", (event) => this.onEvent(event));
    lab.chain.on("decided", () => this.update());
  }
  private onEvent(event: LabEvent): void {
    if (event.source !== "fault" || event.event.endsWith("-ended")) return;
    // A second fault within a case belongs to it.
    if (this.current) {
      this.current.title += `, then ${event.reason}`;
      return;
    }
    const attested = this.lab.chain.levels.at(-1)?.attestedBy !== null;
    this.current = {
      ...{ t0: event.atMs, id: this.receipts.length + 1, title: event.reason },
      level: this.lab.chain.head.level - (attested ? 0 : 1),
      from: this.lab.activePod() ?? "",
    };
    this.update();
  }
  /** Recomputes the open case. */
  update(): void {
    const { current, lab } = this;
    if (!current) return;
    const decided = lab.chain.levels.filter(
      (record) => record.level > current.level && record.attestationMissed !== null,
    );
    const calm =
      decided.length >= 5 && decided.slice(-3).every((record) => !record.attestationMissed && !record.blockMissed);
    const gap = failoverGap(lab.signatures, current.t0);
    // While nobody signs the silence counts up.
    const silentMs = Date.now() - (lab.signatures.at(-1)?.atMs ?? current.t0);
    const silent = !calm && silentMs > 1.5 * lab.options.blockMs ? silentMs / 1000 : 0;
    const acquired = lab.events.findLast(
      (event) => event.atMs >= current.t0 && event.source === "elector" && event.event === "acquired",
    );
    const receipt: CaseReceipt = {
      ...{
        id: current.id,
        title: current.title,
        at: new Date(current.t0).toISOString(),
        from: current.from,
        to: signerOf(decided) ?? "",
      },
      cause: acquired?.reason ?? "",
      missed: decided.filter((record) => record.attestationMissed || record.blockMissed).map((record) => record.level),
      missedLevels: lab.chain.missedSince(current.level),
      failoverSeconds: Number(Math.max(gap.seconds, silent).toFixed(2)),
      overlapMs: Math.round(lab.trace.overlapMs("octez-baker", current.t0)),
      violations: lab.recentVerdict().length,
      open: !calm,
      timeline: timelineOf(lab, current.t0, 80),
    };
    this.receipts[current.id - 1] = receipt;
    if (calm) this.current = undefined;
  }
}

function memberView(lab: Lab, member: Member, now: number) {
  const { pod, zone } = member;
  const lease = lab.object("leases", memberLeaseName(lab.baker, member.ordinal));
  let record: MemberRecord | null = null;
  try {
    record = memberRecordSchema.parse(JSON.parse(lease?.metadata.annotations?.[annotations.member] ?? "null"));
  } catch {
    record = null;
  }
  const holds = lab.lease?.holder === `${pod.name}_${pod.uid}`;
  const daemon = lab.trace.running("octez-baker").find((interval) => interval.uid === pod.uid);
  return {
    ...{
      pod: pod.name,
      uid: pod.uid.slice(0, 8),
      zone,
      ready: pod.ready,
      phase: pod.phase,
      paused: pod.paused,
      orphan: member.orphan,
    },
    holds,
    epoch: holds ? (lab.lease?.epoch ?? 0) : null,
    leaseLeftMs: holds && lab.lease ? Math.max(0, lab.lease.atMs + lab.lease.durationSeconds * 1000 - now) : null,
    leaseMs: (lab.lease?.durationSeconds ?? 0) * 1000,
    head: record?.headLevel ?? null,
    behind:
      record?.headLevel === null || record?.headLevel === undefined
        ? null
        : Math.max(0, lab.chain.head.level - record.headLevel),
    daemon: daemon ? (daemon.readyMs === null ? "starting" : "running") : "stopped",
    ...{ state: record?.state ?? "", reason: record?.reason ?? "", eligible: record?.eligible ?? false },
    ...{ noncesMissing: record?.noncesMissing ?? null, signers: record?.signersAnswering ?? null },
    containers: pod.containers.map((container) => ({
      name: container.spec.name,
      state: container.state,
      restarts: container.restarts,
    })),
    cut: directions.filter((direction) =>
      member.links.some((entry) => entry.direction === direction && entry.link.mode !== "open"),
    ),
  };
}

/** Everything that the page shows but the log. */
export function stateOf(
  lab: Lab,
  cases: Pick<Cases, "receipts">,
  active: { id: number; name: string; atMs: number }[],
) {
  const now = Date.now();
  const watermarks = lab.synthesis.bakers.slice(0, 1).flatMap(({ keys }) =>
    Object.keys(keys).map((key) => {
      const object = lab.object("configmaps", watermarkName(key)) as { data?: Record<string, string> } | undefined;
      const reading = readWatermark(object?.data?.[watermarkDataKey]);
      return { key, missing: object === undefined, record: reading.state === "record" ? reading.record : null };
    }),
  );
  const commitments = [...lab.chain.commitments.values()];
  return {
    ...{ now, baker: lab.baker, blockMs: lab.options.blockMs, flag: lab.options.flag, scale: lab.scale },
    doubleStartMs: lab.options.doubleStartMs * lab.scale,
    head: {
      level: lab.chain.head.level,
      round: lab.chain.head.round,
      ageMs: now - lab.chain.head.atMs,
      halted: lab.chain.halted,
    },
    active: signerOf(lab.chain.levels, now - 3 * lab.options.blockMs) ?? null,
    epoch: lab.lease?.epoch ?? null,
    members: lab.cluster
      .bakingMembers()
      .map((member) => memberView(lab, member, now))
      .sort((a, b) => a.pod.localeCompare(b.pod)),
    watermarks,
    levels: lab.chain.levels.slice(-60).map((record) => ({
      ...{
        level: record.level,
        round: record.round,
        proposer: record.proposer,
        bakedBy: record.bakedBy,
        attestedBy: record.attestedBy,
      },
      ...{
        afterMs: record.attestedAfterMs === null ? null : Math.round(record.attestedAfterMs),
        missed: record.attestationMissed,
      },
      ...{ blockMissed: record.blockMissed, commitment: record.commitment !== null, ours: record.blockRight },
    })),
    nonces: {
      committed: commitments.length,
      revealed: commitments.filter((entry) => entry.revealedBy !== null).length,
      lost: commitments.filter((entry) => entry.lost).length,
    },
    signatures: lab.signatures.length,
    violations: lab.recentVerdict().map((violation) => `${violation.code}: ${violation.text}`),
    active_faults: active.map(({ id, name, atMs }) => ({
      id,
      name,
      title: faults[name]?.title ?? name,
      forMs: now - atMs,
    })),
    zones: lab.cluster.options.zones.map((zone) => ({ zone, down: lab.cluster.downZones.has(zone) })),
    receipts: cases.receipts.slice(-10),
  };
}

export async function servePage(
  lab: Lab,
  options: { port: number; scenarios: Record<string, Scenario> },
): Promise<{ url: string; close(): void }> {
  const cases = new Cases(lab);
  const active: { id: number; name: string; atMs: number; end: () => Promise<void> }[] = [];
  let nextId = 1;
  const streams = new Set<ServerResponse>();
  const send = (response: ServerResponse, type: string, data: unknown) =>
    void response.write(`event: ${type}\ndata: ${JSON.stringify(data)}\n\n`);
  const brief = ({ fields, reason, ...event }: LabEvent) => ({
    ...event,
    reason: [...(["program", "kind", "blockLevel"] as const).flatMap((name) => fields?.[name] ?? []), reason]
      .map(String)
      .join(" "),
  });
  lab.on("event", (event) => {
    if (event.level !== "debug") for (const stream of streams) send(stream, "log", brief(event));
  });
  const period = Math.min(1000, Math.max(250, lab.options.blockMs / 6));
  const timer = setInterval(() => {
    if (streams.size === 0) return;
    cases.update();
    const state = stateOf(lab, cases, active);
    for (const stream of streams) if (stream.writableLength < 1_000_000) send(stream, "state", state);
  }, period);
  timer.unref();

  /** Only this page, opened on this machine: a name that resolves here is no permission. */
  const allowed = (request: IncomingMessage): boolean => {
    const host = (request.headers.host ?? "").replace(/:\d+$/, "");
    const { origin } = request.headers;
    return (
      ["127.0.0.1", "localhost", "[::1]"].includes(host) &&
      (origin === undefined || origin === `http://${request.headers.host}`)
    );
  };
  const body = async (request: IncomingMessage): Promise<unknown> => {
    let text = "";
    for await (const chunk of request) {
      text += String(chunk);
      if (text.length > 10_000) throw new Error("too large");
    }
    return JSON.parse(text);
  };
  const answer = (response: ServerResponse, status: number, value: unknown) =>
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname } = new URL(request.url ?? "/", "http://page");
    if (!allowed(request)) return void answer(response, 403, { error: "open the page as http://127.0.0.1" });
    const file = files[pathname];
    if (request.method === "GET" && file) {
      response.writeHead(200, { "content-type": file.type, "cache-control": "no-cache" }).end(readFileSync(file.file));
      return;
    }
    if (request.method === "GET" && pathname === "/") {
      const nonce = randomBytes(12).toString("base64");
      const html = readFileSync(join(root, "lab/page/index.html"), "utf8")
        .replaceAll("%NONCE%", nonce)
        .replace("%IMPORTS%", importMap);
      response
        .writeHead(200, {
          "content-type": "text/html; charset=utf-8",
          "content-security-policy": `default-src 'none'; script-src 'self' 'nonce-${nonce}'; style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
          "referrer-policy": "no-referrer",
        })
        .end(html);
      return;
    }
    if (request.method === "GET" && pathname === "/events") {
      response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
      send(
        response,
        "faults",
        Object.entries(faults).map(([name, fault]) => ({ name, title: fault.title, arguments: fault.arguments })),
      );
      send(response, "state", stateOf(lab, cases, active));
      for (const event of lab.events.filter((entry) => entry.level !== "debug").slice(-200))
        send(response, "log", brief(event));
      streams.add(response);
      response.on("close", () => streams.delete(response));
      return;
    }
    if (request.method === "GET" && pathname === "/state")
      return void answer(response, 200, stateOf(lab, cases, active));
    if (request.method === "POST" && (request.headers["content-type"] ?? "").startsWith("application/json")) {
      try {
        const given = await body(request);
        if (pathname === "/fault") {
          const { name, args } = z
            .strictObject({ name: z.string(), args: faultArgumentsSchema.default({}) })
            .parse(given);
          const end = await inject(lab, name, args);
          if (end) active.push({ id: nextId++, name, atMs: Date.now(), end });
          return void answer(response, 200, { ok: true, lasts: end !== undefined });
        }
        if (pathname === "/end") {
          const { id } = z.strictObject({ id: z.number() }).parse(given);
          const found = active.find((entry) => entry.id === id);
          if (found) active.splice(active.indexOf(found), 1);
          await found?.end();
          return void answer(response, 200, { ok: found !== undefined });
        }
      } catch (error) {
        return void answer(response, 400, { error: error instanceof Error ? error.message : String(error) });
      }
    }
    answer(response, 404, { error: "not found" });
  }
  const server = createServer((request, response) => void handle(request, response).catch(() => response.destroy()));
  const listen = (port: number) =>
    new Promise<void>((resolve_, reject) => {
      server.once("error", reject);
      server.listen(port, "127.0.0.1", () => {
        server.off("error", reject);
        resolve_();
      });
    });
  await listen(options.port).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EADDRINUSE") throw error;
    return listen(0);
  });
  const address = server.address();
  return {
    url: `http://127.0.0.1:${typeof address === "object" && address ? address.port : options.port}`,
    close: () => {
      clearInterval(timer);
      server.close();
      server.closeAllConnections();
    },
  };
}
