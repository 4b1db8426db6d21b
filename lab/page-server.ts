/**
 * Serves the page from this machine alone: files of lab/page and of node_modules, the state as server-sent events,
 * faults as POST.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { readdirSync, readFileSync } from "node:fs";
import { randomBytes } from "node:crypto";
import { extname, join, resolve } from "node:path";
import { z } from "zod";
import { faultArgumentsSchema, faults, inject } from "./faults/faults";
import type { Lab } from "./lab";
import { Cases, logLine } from "./page-receipts";
import { PageState, type ActiveFault } from "./page-state";
import type { Scenario } from "./scenarios/scenario";

const root = resolve(__dirname, "..");
const folder = join(root, "lab/page");
const types: Record<string, string> = { ".js": "text/javascript", ".css": "text/css" };
const vendor: Record<string, string> = {
  "/vendor/preact.js": "preact/dist/preact.module.js",
  "/vendor/hooks.js": "preact/hooks/dist/hooks.module.js",
  "/vendor/htm.js": "htm/dist/htm.module.js",
  "/vendor/htm-preact.js": "htm/preact/index.module.js",
  "/vendor/uplot.js": "uplot/dist/uPlot.esm.js",
  "/vendor/uplot.css": "uplot/dist/uPlot.min.css",
};
/** Path of the page -> file. */
const files = new Map<string, string>([
  ...Object.entries(vendor).map(([path, file]) => [path, join(root, "node_modules", file)] as const),
  ...readdirSync(folder)
    .filter((name) => extname(name) in types)
    .map((name) => [`/${name}`, join(folder, name)] as const),
]);
const importMap = JSON.stringify({
  imports: {
    ...{ preact: "/vendor/preact.js", "preact/hooks": "/vendor/hooks.js", htm: "/vendor/htm.js" },
    ...{ "htm/preact": "/vendor/htm-preact.js", uplot: "/vendor/uplot.js" },
  },
});

const answer = (response: ServerResponse, status: number, value: unknown): void =>
  void response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
const send = (response: ServerResponse, type: string, data: unknown): void =>
  void response.write(`event: ${type}\ndata: ${JSON.stringify(data)}\n\n`);

/** Only this page, opened on this machine: a name that resolves here is no permission. */
function allowed({ headers }: IncomingMessage): boolean {
  const host = (headers.host ?? "").replace(/:\d+$/, "");
  return (
    ["127.0.0.1", "localhost", "[::1]"].includes(host) &&
    (headers.origin === undefined || headers.origin === `http://${headers.host}`)
  );
}

async function jsonBody(request: IncomingMessage): Promise<unknown> {
  let text = "";
  for await (const chunk of request) {
    text += String(chunk);
    if (text.length > 10_000) throw new Error("too large");
  }
  return JSON.parse(text);
}

function sendFile(response: ServerResponse, file: string): void {
  response
    .writeHead(200, { "content-type": types[extname(file)], "cache-control": "no-cache" })
    .end(readFileSync(file));
}

function sendPage(response: ServerResponse): void {
  const nonce = randomBytes(12).toString("base64");
  const policy = [
    `default-src 'none'; script-src 'self' 'nonce-${nonce}'; style-src 'self' 'unsafe-inline'; connect-src 'self'`,
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  ].join("; ");
  const html = readFileSync(join(folder, "index.html"), "utf8")
    .replaceAll("%NONCE%", nonce)
    .replace("%IMPORTS%", importMap);
  response
    .writeHead(200, {
      "content-type": "text/html; charset=utf-8",
      "content-security-policy": policy,
      "referrer-policy": "no-referrer",
    })
    .end(html);
}

const faultRequest = z.strictObject({ name: z.string(), args: faultArgumentsSchema.default({}) });
const endRequest = z.strictObject({ id: z.number() });

/** Keeps the faults that last, and the open pages. */
class PageServer {
  private readonly cases: Cases;
  private readonly page: PageState;
  private readonly active: (ActiveFault & { end: () => Promise<void> })[] = [];
  private nextId = 1;
  private readonly streams = new Set<ServerResponse>();
  private readonly timer: NodeJS.Timeout;
  readonly server: Server;

  constructor(
    private readonly lab: Lab,
    scenarios: Record<string, Scenario>,
  ) {
    this.cases = new Cases(lab, scenarios);
    this.page = new PageState(lab, this.cases);
    lab.on("event", (event) => {
      if (event.level !== "debug") for (const stream of this.streams) send(stream, "log", logLine(event));
    });
    this.timer = setInterval(() => this.tick(), Math.min(1000, Math.max(250, lab.options.blockMs / 6)));
    this.timer.unref();
    this.server = createServer(
      (request, response) => void this.handle(request, response).catch(() => response.destroy()),
    );
  }

  private tick(): void {
    if (this.streams.size === 0) return;
    this.cases.update();
    const state = this.page.state(this.active);
    for (const stream of this.streams) if (stream.writableLength < 1_000_000) send(stream, "state", state);
  }

  private async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname } = new URL(request.url ?? "/", "http://page");
    if (!allowed(request)) return answer(response, 403, { error: "open the page as http://127.0.0.1" });
    const file = files.get(pathname);
    if (request.method === "GET" && file !== undefined) return sendFile(response, file);
    if (request.method === "GET" && pathname === "/") return sendPage(response);
    if (request.method === "GET" && pathname === "/events") return this.stream(response);
    if (request.method === "GET" && pathname === "/state") return answer(response, 200, this.page.state(this.active));
    const isJson = (request.headers["content-type"] ?? "").startsWith("application/json");
    if (request.method !== "POST" || !isJson || !["/fault", "/end"].includes(pathname))
      return answer(response, 404, { error: "not found" });
    try {
      const given = await jsonBody(request);
      answer(response, 200, pathname === "/fault" ? await this.inject(given) : await this.end(given));
    } catch (error) {
      answer(response, 400, { error: error instanceof Error ? error.message : String(error) });
    }
  }

  private stream(response: ServerResponse): void {
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
    const known = Object.entries(faults).map(([name, fault]) => ({
      ...{ name, title: fault.title, arguments: fault.arguments },
    }));
    send(response, "faults", known);
    send(response, "state", this.page.state(this.active));
    for (const event of this.lab.events.filter(({ level }) => level !== "debug").slice(-200))
      send(response, "log", logLine(event));
    this.streams.add(response);
    response.on("close", () => this.streams.delete(response));
  }

  private async inject(given: unknown): Promise<object> {
    const { name, args } = faultRequest.parse(given);
    const end = await inject(this.lab, name, args);
    if (end) this.active.push({ id: this.nextId++, name, atMs: Date.now(), end });
    return { ok: true, lasts: end !== undefined };
  }
  private async end(given: unknown): Promise<object> {
    const { id } = endRequest.parse(given);
    const found = this.active.find((entry) => entry.id === id);
    if (found) this.active.splice(this.active.indexOf(found), 1);
    await found?.end();
    return { ok: found !== undefined };
  }

  /** @returns the port that it got: another one where `port` is taken */
  async listen(port: number): Promise<number> {
    const once = (wanted: number) =>
      new Promise<void>((done, reject) => {
        this.server.once("error", reject);
        this.server.listen(wanted, "127.0.0.1", () => {
          this.server.off("error", reject);
          done();
        });
      });
    await once(port).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EADDRINUSE") throw error;
      return once(0);
    });
    const address = this.server.address();
    return typeof address === "object" && address ? address.port : port;
  }
  close(): void {
    clearInterval(this.timer);
    this.server.close();
    this.server.closeAllConnections();
  }
}

export async function servePage(
  lab: Lab,
  options: { port: number; scenarios: Record<string, Scenario> },
): Promise<{ url: string; close(): void }> {
  const page = new PageServer(lab, options.scenarios);
  const port = await page.listen(options.port);
  return { url: `http://127.0.0.1:${port}`, close: () => page.close() };
}
