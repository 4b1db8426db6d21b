/** The laboratory's network: bytes that really do not pass. */
import { connect, createServer, type Server, type Socket } from "node:net";
import { Link } from "../../lab/cluster/link";

let echo: Server;
let link: Link;
const sockets: Socket[] = [];
beforeEach(async () => {
  echo = createServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => undefined);
    socket.pipe(socket);
  });
  await new Promise<void>((resolve) => echo.listen(0, "127.0.0.1", resolve));
  const { port } = echo.address() as { port: number };
  link = await new Link("test", () => ({ host: "127.0.0.1", port })).listen("127.0.0.1", 0);
});
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  link.close();
  await new Promise((resolve) => echo.close(resolve));
});
async function open(): Promise<{ socket: Socket; text: () => string; closed: Promise<string> }> {
  const socket = connect(link.address.port, "127.0.0.1");
  sockets.push(socket);
  let text = "";
  socket.on("data", (chunk: Buffer) => (text += chunk.toString()));
  const closed = new Promise<string>((resolve) => {
    socket.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? ""));
    socket.on("close", () => resolve("closed"));
  });
  // A reset that comes at once overtakes the news of the connection.
  await Promise.race([new Promise((resolve) => socket.once("connect", resolve)), closed]);
  return { socket, text: () => text, closed };
}
const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
async function until(test: () => boolean): Promise<void> {
  for (let i = 0; i < 200 && !test(); i++) await wait(10);
  expect(test()).toBe(true);
}

test("an open link passes bytes both ways", async () => {
  const { socket, text } = await open();
  socket.write("hello");
  await until(() => text() === "hello");
});

test("a silent link passes nothing, tells nobody, and delivers in order when it ends", async () => {
  const { socket, text } = await open();
  socket.write("a");
  await until(() => text() === "a");
  link.mode = "silent";
  socket.write("b");
  await wait(60);
  socket.write("c");
  await wait(60);
  expect(text()).toBe("a");
  expect(socket.destroyed).toBe(false);
  link.mode = "open";
  await until(() => text() === "abc");
});

test("a connection made in the silence works after it", async () => {
  link.mode = "silent";
  const { socket, text } = await open();
  socket.write("x");
  await wait(60);
  expect(text()).toBe("");
  link.mode = "open";
  await until(() => text() === "x");
});

test("a refusing link resets old connections and new ones", async () => {
  const before = await open();
  before.socket.write("a");
  await until(() => before.text() === "a");
  link.mode = "refuse";
  await expect(before.closed).resolves.toBe("ECONNRESET");
  const after = await open();
  await expect(after.closed).resolves.toMatch(/ECONNRESET|closed/);
});

test("a slow link is slow", async () => {
  link.delayMs = 80;
  const { socket, text } = await open();
  const began = performance.now();
  socket.write("a");
  await until(() => text() === "a");
  expect(performance.now() - began).toBeGreaterThan(150);
});
