/** What the laboratory sees of a real signer and of real bakers: requests on their way, and processes. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { SignerEntry } from "../../../lab/checker/checker";
import { leavesFile, Lives } from "../../../lab/octez/lives";
import { tapSigner } from "../../../lab/octez/signer-tap";
import { TraceServer } from "../../../lab/trace";
import { bodyOf, headerOf, recordedJson, type Exchange } from "../../helpers/octez-recordings";

describe("between a gate and a signer", () => {
  const recorded = (name: string) => recordedJson<Exchange>(`octez-signer/${name}.json`);
  /** The recorded answer to whatever comes. */
  let exchange = recorded("009-sign-block-tz1");
  const got: { url: string; body: string }[] = [];
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (chunk: Buffer) => (body += chunk.toString()));
    request.on("end", () => {
      got.push({ url: request.url ?? "", body });
      const { status, headers } = exchange.response;
      const type = headerOf(headers, "content-type");
      if (breaks) {
        response.writeHead(status, { "content-length": "1000" }).write("{");
        return void setImmediate(() => response.destroy());
      }
      response.writeHead(status, type === undefined ? {} : { "content-type": type }).end(bodyOf(exchange.response));
    });
  });
  const entries: SignerEntry[] = [];
  let there = true;
  /** The answer ends behind its headers. */
  let breaks = false;
  let tap: Awaited<ReturnType<typeof tapSigner>>;
  beforeAll(async () => {
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    const target = () => (there ? { host: "127.0.0.1", port: (server.address() as AddressInfo).port } : undefined);
    tap = await tapSigner({ host: "127.0.0.1", signer: "hot", target, onSigned: (entry) => void entries.push(entry) });
  });
  afterEach(() => entries.splice(0));
  afterAll(async () => {
    tap.close();
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  });
  const ask = async (name: string) => {
    exchange = recorded(name);
    const { method, path, body } = exchange.request;
    const headers = { "content-type": "application/json" };
    const response = await fetch(`http://127.0.0.1:${tap.port}${path}`, { method, body, headers });
    return { status: response.status, body: await response.text() };
  };

  test("a signature is handed on and recorded with its key and bytes, at a time before the signer had it", async () => {
    const before = Number(process.hrtime.bigint()) / 1e6;
    const answer = await ask("009-sign-block-tz1");
    expect(answer).toEqual({ status: 200, body: bodyOf(exchange.response) });
    expect(got.at(-1)).toEqual({ url: exchange.request.path, body: exchange.request.body });
    const [entry] = entries;
    expect(entry).toMatchObject({
      signer: "hot",
      address: /tz1\w+/.exec(exchange.request.path)?.[0],
      bytes: JSON.parse(exchange.request.body ?? "") as string,
      signature: (JSON.parse(answer.body) as { signature: string }).signature,
    });
    expect(entry?.at).toBeGreaterThan(before);
  });
  test("a refusal is a request without a signature", async () => {
    expect(await ask("013-sign-attestation-tz1-conflicting")).toMatchObject({ status: 500 });
    expect(entries).toMatchObject([{ signature: null }]);
  });
  test("an answer that breaks behind its headers is one request without a signature", async () => {
    breaks = true;
    await expect(ask("009-sign-block-tz1")).rejects.toThrow();
    breaks = false;
    expect(entries).toMatchObject([{ signature: null }]);
  });
  test("what asks for no signature is handed on and not recorded", async () => {
    expect(await ask("003-key-known-tz1")).toEqual({ status: 200, body: bodyOf(exchange.response) });
    expect(await ask("005-key-unknown")).toEqual({ status: 404, body: "" });
    expect(entries).toEqual([]);
  });
  test("where no signer is, the connection breaks, and nothing was asked", async () => {
    there = false;
    await expect(ask("009-sign-block-tz1")).rejects.toThrow();
    there = true;
    expect(entries).toEqual([]);
  });
});

test("a process that became octez-baker is seen from its start to its end, and when it says that it is ready", async () => {
  const folder = mkdtempSync(join(tmpdir(), "lives-"));
  const trace = new TraceServer();
  const lines: string[] = [];
  trace.on("line", ({ event }) => void lines.push(event));
  const lives = new Lives(folder, trace);
  try {
    const began = once(trace, "line");
    const env = { ...process.env, LAB_POD: "alice-as-0", LAB_POD_UID: "uid" };
    const child = spawn("sh", ["-c", `${leavesFile(folder)}; exec sleep 600`], { env, stdio: "ignore" });
    await began;
    const of = { role: "octez-baker", pod: "alice-as-0", uid: "uid", pid: child.pid };
    expect(trace.running("octez-baker")).toMatchObject([{ ...of, readyMs: null }]);
    lives.heard("alice-as-0", "Nov 27 13:52:50.961 NOTICE │ starting baker for protocol PsUshuai9Qap");
    lives.heard("alice-as-1", "Nov 27 13:52:51.372 NOTICE │ baker for protocol PsUshuai9Qap is now running");
    expect(lines).toEqual(["process"]);
    lives.heard("alice-as-0", "Nov 27 13:52:51.372 NOTICE │ baker for protocol PsUshuai9Qap is now running");
    expect(lines).toEqual(["process", "ready"]);
    const ended = once(trace, "end");
    child.kill("SIGKILL");
    expect(await ended).toMatchObject([{ ...of, endMs: expect.any(Number) as number }]);
    expect(trace.running("octez-baker")).toEqual([]);
  } finally {
    lives.stop();
    rmSync(folder, { recursive: true });
  }
});
