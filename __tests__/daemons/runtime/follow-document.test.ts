/**
 * A status followed by its stream: what is told, how old it is, and what happens where the stream is missing or dies.
 */
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import { systemClock as clock } from "../../../daemons/runtime/clock";
import { followDocument } from "../../../daemons/runtime/follow-document";
import { serveHttp, type HttpServer } from "../../../daemons/runtime/http-server";
import { Wake } from "../../../daemons/runtime/wake";

let stop: AbortController;
let ends: (() => Promise<unknown>)[];
beforeEach(() => ((stop = new AbortController()), (ends = [])));
afterEach(async () => {
  stop.abort();
  for (const end of ends.reverse()) await end();
});

interface Told {
  document: unknown;
  atMs: number;
}
function follow(port: number, streamMs: number, pollMs: () => number | undefined = () => undefined, wake = new Wake()) {
  const told: Told[] = [];
  const following = followDocument({
    ...{
      clock,
      host: "127.0.0.1",
      port,
      path: "/status",
      timeoutMs: 1000,
      streamMs,
      pollMs,
      wake,
      signal: stop.signal,
    },
    onDocument: (document, atMs) => told.push({ document, atMs }),
  });
  ends.push(() => following);
  return told;
}
async function until(told: Told[], holds: (list: Told[]) => boolean): Promise<void> {
  const since = clock.now();
  while (!holds(told)) {
    if (clock.now() - since > 20_000) throw new Error(`not so far: ${JSON.stringify(told.slice(-5))}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
async function serve(status: () => unknown): Promise<HttpServer> {
  const server = await serveHttp({ host: "127.0.0.1", port: 0, routes: {}, status });
  ends.push(() => server.close());
  return server;
}

test("a follower hears the document at once, at each announced change, and again after the agreed time", async () => {
  let value = 1;
  const server = await serve(() => ({ value }));
  const told = follow(server.port, 300);
  await until(told, (list) => list.length >= 2);
  expect(told[0]?.document).toEqual({ value: 1 });
  // Nothing new: the same object.
  expect(told[1]?.document).toBe(told[0]?.document);
  value = 2;
  const changedMs = clock.now();
  server.changed("/status");
  await until(told, (list) => list.some(({ document }) => (document as { value: number }).value === 2));
  const first = told.find(({ document }) => (document as { value: number }).value === 2);
  expect(first?.atMs).toBeGreaterThanOrEqual(changedMs - 0.01);
  await until(told, (list) => list.filter(({ document }) => (document as { value: number }).value === 2).length >= 2);
  expect(told.map(({ atMs }) => atMs)).toEqual(told.map(({ atMs }) => atMs).sort((a, b) => a - b));
});

test("a line that waited is as old as it says, and never from the future", async () => {
  let writtenMs: [least: number, most: number] | undefined;
  const lines = http.createServer((request, response) => {
    if (!(request.url ?? "").includes("watch")) return void response.end("{}");
    const leastMs = clock.now();
    const now = process.hrtime.bigint();
    writtenMs = [leastMs, clock.now()];
    response.write(JSON.stringify({ atNs: String(now - 5_000_000_000n), document: "old" }) + "\n");
    response.write(JSON.stringify({ atNs: String(now + 60_000_000_000n), document: "future" }) + "\n");
  });
  await new Promise<void>((resolve) => lines.listen(0, "127.0.0.1", resolve));
  ends.push(() => new Promise((resolve) => (lines.close(resolve), lines.closeAllConnections())));
  const told = follow((lines.address() as AddressInfo).port, 10_000);
  await until(told, (list) => list.length === 2);
  expect(told[0]).toMatchObject({ document: "old" });
  const [leastMs = 0, mostMs = 0] = writtenMs ?? [];
  expect(told[0]?.atMs).toBeGreaterThanOrEqual(leastMs - 5001);
  expect(told[0]?.atMs).toBeLessThanOrEqual(mostMs - 4999);
  expect(told[1]?.atMs).toBeLessThanOrEqual(clock.now());
});

test("a container without streams is polled, one that hangs or is gone is told as no answer", async () => {
  let hang = false;
  const plain = http.createServer((_request, response) => (hang ? undefined : response.end('{"plain":true}')));
  await new Promise<void>((resolve) => plain.listen(0, "127.0.0.1", resolve));
  const close = () => new Promise((resolve) => (plain.close(resolve), plain.closeAllConnections()));
  const told = follow((plain.address() as AddressInfo).port, 100);
  await until(told, (list) => list.filter(({ document }) => document !== undefined).length >= 2);
  expect(told.at(-1)?.document).toEqual({ plain: true });
  hang = true;
  await until(told, (list) => list.at(-1)?.document === undefined);
  hang = false;
  await until(told, (list) => list.at(-1)?.document !== undefined);
  await close();
  await until(told, (list) => list.at(-1)?.document === undefined);
});

test("what is urgent is asked, even where the stream lives", async () => {
  let asked = 0;
  const server = await serve(() => ++asked);
  const wake = new Wake();
  let urgent = false;
  const told = follow(server.port, 30_000, () => (urgent ? 20 : undefined), wake);
  await until(told, (list) => list.length === 1);
  urgent = true;
  wake.kick();
  await until(told, (list) => list.length >= 5);
});
