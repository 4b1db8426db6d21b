/**
 * A member that has the secret but sends nonsense, and strangers at the exposer's port: nothing changes on disk, and an
 * alert says why.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { connect as connectTcp, type AddressInfo } from "node:net";
import { join } from "node:path";
import { connect, createServer, type TLSSocket } from "node:tls";
import { ports } from "../../../contract/ports";
import { follow, type PeerContent } from "../../../daemons/nonce-importer/follow";
import { systemClock } from "../../../daemons/runtime/clock";
import { exchangeKey, pskOptions } from "../../../daemons/runtime/nonce-wire";
import {
  chainId,
  createNoncePods,
  makeNonce,
  statefulFile,
  until,
  writeStateful,
  type NoncePods,
} from "../../helpers/nonce-pods";

let world: NoncePods | undefined;
const closing: (() => void)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) close();
  await world?.close();
  world = undefined;
});

const good = makeNonce({ seed: 1 });
const revealed = makeNonce({ seed: 2, state: { injection_level: 5 } });
const content = (overrides: Record<string, unknown> = {}): string =>
  JSON.stringify({
    type: "content",
    pod: "alice-as-1",
    chain: chainId,
    hash: "0".repeat(64),
    file: statefulFile,
    stateful: [makeNonce({ seed: 3 })],
    legacy: [],
    ...overrides,
  }) + "\n";
const hundredMegabytes = Buffer.alloc(1 << 20, "x");

/** By the code under which each is refused. */
const cases: [string, (socket: TLSSocket) => void][] = [
  ["not-json", (socket) => void socket.write(content().slice(0, -40) + "\n")],
  ["cut", (socket) => void socket.end(content().slice(0, -40))],
  [
    "too-long",
    (socket) => {
      for (let i = 0; i < 100 && !socket.destroyed; i++) socket.write(hundredMegabytes);
    },
  ],
  ["other-chain", (socket) => void socket.write(content({ chain: "NetXsqzbfFenSTS" }))],
  ["other-chain", (socket) => void socket.write(content({ file: "NetXsqzbfFenS_stateful_nonces" }))],
  ["other-pod", (socket) => void socket.write(content({ pod: "alice-as-0" }))],
  ["hash-mismatch", (socket) => void socket.write(content({ stateful: [{ ...good, hash: revealed.hash }] }))],
  ["field", (socket) => void socket.write(content({ stateful: [{ ...good, state: { nonce: good.nonce } }] }))],
  [
    "field",
    (socket) => {
      const deep = `${"[".repeat(20_000)}${"]".repeat(20_000)}`;
      const [start, end] = content({
        stateful: [
          { ...good, memo: 0 },
          { ...good, memo: 1 },
        ],
      }).split('"memo":0') as [string, string];
      socket.write(start + `"memo":${deep}` + end);
    },
  ],
  ["not-a-list", (socket) => void socket.write(content({ stateful: { 0: good } }))],
  ["malformed", (socket) => void socket.write('{"type":"content"}\n')],
  [
    "state-backwards",
    (socket) => {
      socket.write(content({ stateful: [revealed] }));
      socket.write(content({ stateful: [{ ...revealed, state: "committed" }, good] }));
    },
  ],
  ["silent", () => undefined],
  ["unavailable", (socket) => void socket.write('{"type":"unavailable","reason":"broken"}\n')],
];
/** A member with the secret at `host`, which does to each connection what `answer` says then. */
async function evilMember(
  host: string,
  port: number,
  key: Buffer,
  answer: () => ((socket: TLSSocket) => void) | undefined,
): Promise<number> {
  const server = createServer({ ...pskOptions, pskCallback: () => key }, (socket) => {
    closing.push(() => socket.destroy());
    socket.on("error", () => undefined);
    socket.resume();
    answer()?.(socket);
  });
  closing.push(() => server.close());
  await new Promise<void>((resolve) => server.listen(port, host, resolve));
  return (server.address() as AddressInfo).port;
}

test.each(cases)("%s: refused with its reason, and nothing of it is delivered", async (code, answer) => {
  const key = Buffer.alloc(32, 7);
  const port = await evilMember("127.0.0.1", 0, key, () => answer);
  const stop = new AbortController();
  closing.push(() => stop.abort());
  const delivered: PeerContent[] = [];
  const reason = await new Promise<string>((resolve) => {
    void follow({
      pod: "alice-as-1",
      self: { pod: "alice-as-0", identity: "alice-as-0_x" },
      chainId,
      address: () => ({ host: "127.0.0.1", port }),
      key: () => key,
      beatMs: 50,
      silenceMs: code === "silent" ? 300 : 60_000,
      clock: systemClock,
      signal: stop.signal,
      onContent: (received) => delivered.push(received),
      onState: (_connected, itsCode, itsReason) => itsCode !== "connected" && resolve(`${itsCode}: ${itsReason}`),
    });
  });
  stop.abort();
  expect(reason).toMatch(new RegExp(`^${code}: `));
  expect(reason).not.toContain(good.nonce);
  expect(delivered.flatMap(({ stateful }) => stateful)).toEqual(code === "state-backwards" ? [revealed] : []);
});

test("the files stay as they are, and the reason is logged and counted", async () => {
  world = await createNoncePods();
  const [pod, evil] = world.pods;
  if (!pod || !evil) throw new Error("two pods");
  const wanted = ["hash-mismatch", "too-long", "other-chain"];
  const key = exchangeKey(pod.environment.TOG_SECRETS_DIR ?? "", "alice");
  let current = "";
  await evilMember(evil.address, ports.nonceExposer, key, () => cases.find(([name]) => name === current)?.[1]);
  writeStateful(pod.clientDir, [good, revealed]);
  writeFileSync(
    join(pod.clientDir, "NetXdQprcVkpa_nonces"),
    JSON.stringify([good, revealed].map(({ block, nonce }) => ({ block, nonce }))),
  );
  const before = readFileSync(join(pod.clientDir, statefulFile), "utf8");
  pod.start(["nonce-importer"]);
  for (const code of wanted) {
    current = code;
    const refusal = await until(code, () => pod.logs.find((entry) => entry.code === code));
    expect(refusal).toMatchObject({ event: "nonce-peer-refused", level: "error" });
  }
  expect(readFileSync(join(pod.clientDir, statefulFile), "utf8")).toBe(before);
  const metrics = await pod.metrics("importer");
  for (const code of wanted)
    expect(metrics).toMatch(new RegExp(`tog_nonce_importer_refused_total\\{[^}]*reason="${code}"[^}]*\\} [1-9]`));
  expect(JSON.stringify(pod.logs)).not.toContain(good.nonce);
});

test("strangers get no nonce from the exposer, and probes get their answer", async () => {
  world = await createNoncePods({ timings: { nonceAckSeconds: 0.4 } });
  const [pod] = world.pods;
  if (!pod) throw new Error("a pod");
  writeStateful(pod.clientDir, [good]);
  pod.start(["nonce-exposer"]);
  const status = await until("status", () => pod.status("exposer"));
  expect(status.peers).toEqual([{ pod: "alice-as-1", connected: false, acknowledged: false, reason: "not connected" }]);
  const url = `http://${pod.address}:${ports.nonceExposer}`;
  for (const path of ["/live", "/ready"]) expect((await fetch(url + path)).status).toBe(200);
  for (const path of ["/status", "/metrics", "/nonces", "/"])
    expect(await (await fetch(url + path)).text()).not.toContain(good.nonce);

  const key = exchangeKey(pod.environment.TOG_SECRETS_DIR ?? "", "alice");
  /** What the exposer says to a client, until it says nothing for a while or ends the connection. */
  const talk = (psk: Buffer, identity: string, hello: string): Promise<string> =>
    new Promise((resolve) => {
      let heard = "";
      const socket = connect({
        ...pskOptions,
        host: pod.address,
        port: ports.nonceExposer,
        checkServerIdentity: () => undefined,
        pskCallback: () => ({ psk, identity }),
      });
      socket.on("secureConnect", () => socket.write(hello));
      socket.on("data", (chunk: Buffer) => {
        heard += chunk.toString();
        if (heard.includes("content")) socket.destroy();
      });
      socket.on("error", () => undefined);
      closing.push(() => socket.destroy());
      socket.on("close", () => resolve(heard));
    });
  const hello = (chain = chainId): string =>
    JSON.stringify({ type: "hello", pod: "alice-as-1", identity: "alice-as-1_x", chain }) + "\n";
  expect(await talk(Buffer.alloc(32, 1), "alice-as-1", hello())).toBe("");
  expect(await talk(exchangeKey(pod.environment.TOG_SECRETS_DIR ?? "", "bob"), "alice-as-1", hello())).toBe("");
  expect(await talk(key, "mallory", hello())).toBe("");
  expect(await talk(key, "alice-as-1", hello("NetXsqzbfFenSTS"))).toBe("");
  expect(await talk(key, "alice-as-1", "x".repeat(5000))).toBe("");
  expect(await talk(key, "alice-as-1", hello())).toContain(good.nonce);
  // Bytes that are neither, and a connection that says nothing.
  await new Promise<void>((resolve) => {
    const socket = connectTcp(ports.nonceExposer, pod.address, () =>
      socket.write("\x16\x03\x01garbage that is no handshake"),
    );
    closing.push(() => socket.destroy());
    socket.on("error", () => undefined);
    socket.resume();
    socket.on("close", () => resolve());
  });
  expect((await pod.status("exposer"))?.committed).toBe(0);
  expect(await pod.metrics("exposer")).toMatch(/tog_nonce_exposer_refused_total\{[^}]*reason="authentication"/);

  // A broken file of our own is no empty one.
  writeFileSync(join(pod.clientDir, statefulFile), "[{");
  const alarm = (value: 0 | 1) => async () =>
    (await pod.metrics("exposer")).match(new RegExp(`tog_nonce_exposer_file_broken\\{[^}]*\\} ${value}`));
  await until("alarm", alarm(1));
  expect(await talk(key, "alice-as-1", hello())).toContain(good.nonce);
  // A broken orphaned file is an alarm as well, and holds back no nonce that is to be revealed.
  writeStateful(pod.clientDir, [good]);
  await until("no alarm", alarm(0));
  writeFileSync(join(pod.clientDir, "NetXdQprcVkpa_orphaned_nonces"), "\0\0\0");
  await until("alarm", alarm(1));
  writeStateful(pod.clientDir, [good, revealed]);
  await until("the new nonce", async () => (await talk(key, "alice-as-1", hello())).includes(revealed.nonce));
});
