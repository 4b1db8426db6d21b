/** What it means that a signer closes the connection instead of showing a public key. */
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { exchangeOverTcp } from "../../../daemons/runtime/tcp-exchange";
import { OctezSigner } from "../../../lab/doubles/signer-server";
import { testKey } from "../../../lab/doubles/signing-keys";
import { TcpSigner } from "../../../lab/doubles/tcp-signer";

const key = testKey("tz1", "baker");
const other = testKey("tz1", "another");

let signer: TcpSigner;
let signerPort: number;
let front: Server | undefined;
const sockets = new Set<Socket>();
beforeEach(async () => {
  const options = { keys: [key] };
  signer = new TcpSigner(new OctezSigner(options), options);
  signerPort = await signer.start("127.0.0.1");
});
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  sockets.clear();
  front?.close();
  front = undefined;
  await signer.close();
});
const keep = (socket: Socket): Socket => {
  sockets.add(socket);
  return socket.on("error", () => undefined);
};
async function before(serve: (socket: Socket) => void): Promise<number> {
  const server = createServer((socket) => serve(keep(socket)));
  front = server;
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return (server.address() as AddressInfo).port;
}
const ask = (port: number, { address } = key) =>
  exchangeOverTcp(new URL(`tcp://127.0.0.1:${port}/keys/${address}`), { method: "GET", timeoutMs: 5000 });

test("the signer does not have the key where it answers on the connection and closes it on this request", async () => {
  expect(await ask(signerPort, other)).toMatchObject({ ok: true, status: 404 });
  // The public key; then the authorized keys and the public key over one connection.
  expect(signer.asked).toEqual([1, 2, 1]);
});
test.each<[string, (socket: Socket) => void]>([
  ["is reset", (socket) => void socket.on("data", () => socket.resetAndDestroy())],
  ["is closed by a proxy that has read the request", (socket) => void socket.on("data", () => socket.end())],
  ["is closed as it begins", (socket) => void socket.destroy()],
])("it is a failure where the connection %s", async (_, serve) => {
  expect(await ask(await before(serve))).toMatchObject({ ok: false, reason: "network", sent: true });
});
test("the key comes where only the first connection was one too many", async () => {
  let connections = 0;
  const port = await before((socket) => {
    if (connections++ === 0) return void socket.end();
    socket.pipe(keep(connect(signerPort, "127.0.0.1"))).pipe(socket);
  });
  const body = JSON.stringify({ public_key: key.publicKey });
  expect(await ask(port)).toMatchObject({ ok: true, status: 200, body });
});
