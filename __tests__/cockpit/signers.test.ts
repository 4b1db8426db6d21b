/** How the doctor names what is wrong with a signer: real sockets on the pod's side, one sentence for each cause. */
import { createServer as createHttp, type RequestListener } from "node:http";
import { createServer as createTcp, type AddressInfo, type Server, type Socket } from "node:net";
import type { Cluster } from "../../cockpit/cluster";
import { doctor } from "../../cockpit/doctor";
import { readSigners } from "../../cockpit/signers";
import { togProgram } from "../../contract/images";
import { watermarkName } from "../../contract/names";
import { signerProblems, type SignerReport } from "../../contract/signer-report";
import { lookAtSigners } from "../../daemons/sidecar/signers";
import { signersView } from "../../diagnosis/signers";
import type { BakerView } from "../../diagnosis/view";
import { OctezSigner, type OctezSignerOptions } from "../../lab/doubles/signer-server";
import { testKey } from "../../lab/doubles/signing-keys";
import { solidBakerFile } from "../helpers/baker-file";

const key = testKey("tz1", "doctor");
const other = testKey("tz2", "doctor");
const open: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of open.splice(0)) await close();
});

const portOf = (server: Server): number => (server.address() as AddressInfo).port;
async function listening<S extends Server>(server: S): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  open.push(() => new Promise((done) => server.close(done)));
  return portOf(server);
}
const http = (handler: RequestListener) => listening(createHttp(handler));
/** A server that does this with each connection. */
const tcp = (what: (socket: Socket) => void) =>
  listening(
    createTcp((socket) => {
      open.unshift(() => socket.destroy());
      socket.on("error", () => undefined);
      what(socket);
    }),
  );
async function signer(options: Partial<OctezSignerOptions> = {}): Promise<string> {
  const double = new OctezSigner({ keys: [key], ...options });
  const port = await double.start("127.0.0.1");
  open.push(() => double.close());
  return `http://127.0.0.1:${port}`;
}
const fileOf = (urls: readonly string[]) =>
  solidBakerFile({
    keys: [{ address: key.address, alias: "own", watermark: watermarkName(key.address), signers: names(urls) }],
    signers: urls.map((url, i) => ({ name: `s${i}`, endpoints: [{ zone: null, url }], deterministic: false })),
    delegate: key.address,
  });
const names = (urls: readonly string[]) => urls.map((_, i) => `s${i}`);
/** What the pod sees, and what the doctor says of it. */
async function said(...urls: string[]) {
  const reports = await lookAtSigners(fileOf(urls));
  return { reports, views: signersView(new Map([["alice-as-0", reports]]), "alice") };
}

test("a signer that has the key is named with whom it lets in", async () => {
  const url = await signer({ requireAuthentication: true, authorizedKeys: [other.publicKey] });
  const { host } = new URL(url);
  const { views } = await said(url, await signer());
  expect(views).toEqual([
    { name: "signer s0", text: `${host} answers and has its key; it lets in ${other.address}` },
    { name: "signer s1", text: expect.stringMatching(/its key; it asks for no authentication$/) as string },
  ]);
});

const json = (status: number, body: unknown) =>
  http((_request, response) => {
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify(body));
  });
/** A port on which nothing listens. */
async function freePort(): Promise<number> {
  const server = createTcp();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const port = portOf(server);
  await new Promise((done) => server.close(done));
  return port;
}
const local = async (port: Promise<number>, scheme = "http"): Promise<string> => `${scheme}://127.0.0.1:${await port}`;

test.each<[string, () => Promise<string>, RegExp]>([
  ["no-address", () => Promise.resolve("http://signer.invalid:6732"), /^the pod finds no address for signer.invalid/],
  ["refused", () => local(freePort()), /^nothing listens on 127.0.0.1:\d+ \(ECONNREFUSED/],
  ["closed", () => local(tcp((socket) => socket.once("data", () => socket.destroy()))), /^127.* closes it without/],
  ["not-http", () => local(tcp((socket) => socket.end("SSH-2.0-x\r\n"))), /^what answers on 127.* is no HTTP/],
  ["no-tls", () => local(json(200, {}), "https"), /^127.* does not speak TLS as url says/],
  ["header-asked", () => local(json(401, {})), /asks for a header that octez-baker does not send/],
  ["no-signer", () => local(json(404, {})), /^what answers at http:.* is no signer \(HTTP 404/],
  ["no-signer", () => local(json(200, { authorized_keys: "x" })), /is no signer/],
  ["error", () => local(json(500, [{ msg: "no device" }])), /answers with an error \(HTTP 500: .*no device/],
])("%s is said in one sentence, with what to do", async (code, url, sentence) => {
  const { reports, views } = await said(await url());
  expect(reports[0]?.problem?.code).toBe(code);
  const [view] = views;
  expect(view?.text).toMatch(sentence);
  // Nobody else signs with this key.
  expect(view?.finding).toMatchObject({ severity: "critical", code: "signer-not-serving" });
  expect(view?.finding?.remedy).not.toBe("");
});

test("a signer that ends the question for a key without an answer is not said to lack the key", async () => {
  const port = await http((request, response) => {
    if (request.url === "/authorized_keys") response.end("{}");
    else request.socket.destroy();
  });
  const { reports, views } = await said(`http://127.0.0.1:${port}`);
  expect(reports).toMatchObject([{ problem: { code: "closed" }, keys: [] }]);
  expect(views[0]?.text).not.toContain("does not show");
});

test("a signer that takes the connection and says nothing is silent, and not unreachable", async () => {
  const port = await tcp(() => undefined);
  const [view] = (await said(`http://127.0.0.1:${port}`)).views;
  expect(view?.text).toMatch(/takes the connection and says nothing/);
}, 10_000);

test("a certificate that nobody vouches for is named as that", async () => {
  const report: SignerReport = {
    ...{ signer: "vault", zone: null, url: "https://vault.example.org", authorized: null, keys: [] },
    problem: { code: "certificate", detail: "DEPTH_ZERO_SELF_SIGNED_CERT" },
  };
  const [view] = signersView(new Map([["alice-as-0", [report]]]), "alice");
  expect(view?.text).toBe("the certificate of vault.example.org is not accepted (DEPTH_ZERO_SELF_SIGNED_CERT)");
});

test("a signer without the key is a warning while another one has it", async () => {
  const without = await signer({ keys: [other] });
  const { views } = await said(without, await signer());
  expect(views[0]?.text).toBe(`the signer answers, and does not show ${key.address} (HTTP 404)`);
  expect(views.map(({ finding }) => finding?.severity)).toEqual(["warning", undefined]);
  expect((await said(without)).views[0]?.finding?.severity).toBe("critical");
});

test("a signer that lets nobody in serves nobody", async () => {
  const { views } = await said(await signer({ requireAuthentication: true, authorizedKeys: [] }));
  expect(views[0]?.text).toBe("the signer asks for authentication and lets nobody in");
  expect(views[0]?.finding?.severity).toBe("critical");
});

const report = (change: Partial<SignerReport>): SignerReport => ({
  ...{ signer: "home1", zone: null, url: "http://10.8.0.5:6732", problem: null, authorized: null },
  ...{ keys: [{ address: key.address, found: true, detail: "" }], ...change },
});
const refused = { problem: { code: "refused", detail: "" }, keys: [] } as const;

test("what only one pod sees names that pod, and is critical where the pod has no other signer", () => {
  const pods = new Map([
    ["alice-as-0", [report({})]],
    ["alice-as-1", [report({ ...refused, keys: [] })]],
  ]);
  const [view] = signersView(pods, "alice");
  expect(view?.text).toBe("from alice-as-1: nothing listens on 10.8.0.5:6732");
  expect(view?.finding?.severity).toBe("critical");
});

test("every cause has a remedy of its own for a tunnel and for a URL", () => {
  for (const code of signerProblems) {
    const remedies = ["http://10.8.0.5:6732", "http://alice-signer-home1-zone-b:6732"].map((url) => {
      const one = report({ url, zone: "zone-b", problem: { code, detail: "" }, keys: [] });
      return signersView(new Map([["alice-as-0", [one]]]), "alice")[0]?.finding?.remedy ?? "";
    });
    expect(remedies.every((remedy) => remedy !== "")).toBe(true);
    if (code === "refused")
      expect(remedies).toEqual([expect.stringContaining("start the signer"), expect.stringContaining("signer-host")]);
  }
});

test("the doctor asks each pod of the baker, and skips the signers where no pod can ask", async () => {
  const url = await signer();
  const reports = JSON.stringify(await lookAtSigners(fileOf([url])));
  const asked: string[][] = [];
  let answer = { code: 0, out: reports, err: "" };
  const cluster = {
    ...{ context: "c", namespace: "n", version: () => Promise.resolve("v1"), allowed: () => Promise.resolve(true) },
    sourceRanges: () => Promise.resolve(undefined),
    pods: () => Promise.resolve(["alice-as-0", "alice-as-1"].map((name) => ({ metadata: { name } }))),
    exec: (pod: string, container: string, words: string[]) => {
      asked.push([pod, container, ...words]);
      return Promise.resolve(answer);
    },
  } as unknown as Cluster;
  const seen = {
    ...{ baker: "alice", topology: "active-standby", pods: [], members: [], watermarks: [], receipts: [] },
    missingPods: [],
  } as unknown as BakerView;
  const look = async () =>
    (await doctor(cluster, () => Promise.resolve(seen), { signers: () => readSigners(cluster, "alice") })).filter(
      ({ name }) => name.startsWith("signer"),
    );
  expect(await look()).toMatchObject([{ name: "signer s0", state: "ok" }]);
  expect(asked).toEqual(["alice-as-0", "alice-as-1"].map((pod) => [pod, "sidecar", togProgram, "sidecar", "signers"]));
  answer = { code: 1, out: "", err: 'sidecar takes no argument, or keys; got "signers"' };
  expect(await look()).toMatchObject([{ name: "signers", state: "skipped" }]);
});
