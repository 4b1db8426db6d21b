import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { getJson } from "../../../daemons/runtime/http-get";

let server: Server;
let url: string;
let connections: number;
let served: number;
let answer: (response: ServerResponse) => void;

beforeEach(async () => {
  connections = served = 0;
  server = createServer((_request, response) => {
    served++;
    answer(response);
  });
  server.on("connection", () => connections++);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/status`;
});
afterEach(
  () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    }),
);

test("questions to one daemon share a connection", async () => {
  answer = (response) => response.end('{"a":1}');
  for (let i = 0; i < 3; i++) expect(await getJson(url, { timeoutMs: 1000 })).toEqual({ a: 1 });
  expect(connections).toBe(1);
});

test("an idle connection that the daemon has closed is no failure", async () => {
  answer = (response) => (served === 2 ? response.socket?.destroy() : response.end("{}"));
  await getJson(url, { timeoutMs: 1000 });
  expect(await getJson(url, { timeoutMs: 1000 })).toEqual({});
  expect([served, connections]).toEqual([3, 2]);
});

test.each<[string, (response: ServerResponse) => void, string, number?]>([
  ["is no JSON", (response) => response.end("<html>"), "no JSON"],
  ["is another status", (response) => response.writeHead(503).end("{}"), "HTTP 503"],
  ["is a redirect", (response) => response.writeHead(302, { location: "/" }).end(), "HTTP 302"],
  ["is too long", (response) => response.end(`"${"x".repeat(2000)}"`), "more than 1000 bytes"],
  ["is cut", (response) => void response.socket?.destroy(), "socket hang up"],
  ["never comes", () => undefined, "no answer within 100 ms", 100],
])("an answer that %s is an error", async (_what, lie, message, timeoutMs = 60_000) => {
  answer = lie;
  await expect(getJson(url, { timeoutMs, limit: 1000 })).rejects.toThrow(message);
});

test("an abort ends it", async () => {
  answer = () => undefined;
  const stop = new AbortController();
  setTimeout(() => stop.abort(), 20);
  await expect(getJson(url, { timeoutMs: 10_000, signal: stop.signal })).rejects.toThrow("aborted");
});
