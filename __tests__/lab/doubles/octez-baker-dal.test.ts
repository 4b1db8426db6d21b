/** How the double of octez-baker uses a DAL node: as version 25.1 does, with the two weaknesses of it. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { DalClient } from "../../../lab/doubles/octez-baker-dal";
import { DalRpc } from "../../../lab/doubles/octez-dal-node";
import { eventually } from "../../suites/kube-suite";

const key = "tz1gJqydwxKpxGj8jABfTTLojtpyyvHAhhcj";
const slot = (level: number, index: number) => ({ slot_level: level, slot_index: index });
const learnt = (processed: number, ...slots: ReturnType<typeof slot>[]) => ({ peers: 3, processed, slots });

let server: Server;
let rpc: DalRpc;
let streams: number;
let hangs: boolean;
let client: DalClient;
const released: (() => void)[] = [];
beforeEach(async () => {
  rpc = new DalRpc([], "DAL_X");
  [streams, hangs] = [0, false];
  server = createServer((request, response) => {
    let body = "";
    request.on("data", (chunk: Buffer) => (body += chunk.toString()));
    request.on("end", () => {
      const url = new URL(request.url ?? "/", "http://dal");
      if (url.pathname.endsWith("attestable_slots")) streams++;
      const serve = () => rpc.serve(request, response, url, body);
      if (hangs) released.push(serve);
      else serve();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  rpc.learn(1000, learnt(998, slot(997, 2), slot(997, 5)));
  client = new DalClient(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, [key]);
  await client.start();
});
afterEach(() => {
  server.close();
  server.closeAllConnections();
});

const profiles = async () =>
  (await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/profiles`)).text();
/** Whatever would have been asked before has been asked by then. */
const roundTrips = async () => {
  for (let i = 0; i < 10; i++) await profiles();
};

test("it registers its key, and attests what the stream has told: at first the slots of the last levels, then each new one", async () => {
  await eventually("the backfill", () => client.slots(key, 1001).length === 2);
  rpc.learn(1001, learnt(999, slot(997, 2), slot(997, 5), slot(999, 0)));
  await eventually("the next slot", () => client.slots(key, 1003).length === 1);
  expect([client.slots(key, 1001), client.slots(key, 1002), client.slots(key, 1003)]).toEqual([[2, 5], [], [0]]);
  expect(await profiles()).toContain(key);
});

test("after the end of its stream it attests no slot any more, and does not open another one", async () => {
  await eventually("the backfill", () => client.slots(key, 1001).length === 2);
  server.closeAllConnections();
  await roundTrips();
  rpc.learn(1001, learnt(999, slot(999, 0)));
  await roundTrips();
  expect([client.slots(key, 1003), streams]).toEqual([[], 1]);
});

test("at every 50th level it waits for the DAL node before it attests, and until then nothing else is done", async () => {
  let done: string[] = [];
  const note = (what: string) => () => void (done = [...done, what]);
  hangs = true;
  await client.beforeAttestation(1049);
  void client.beforeAttestation(1050).then(note("attestation"));
  void client.idle().then(note("the next level"));
  await eventually("its question", () => released.length > 0);
  await new Promise((resolve) => setImmediate(resolve));
  expect(done).toEqual([]);
  for (const serve of released.splice(0)) serve();
  await eventually("its answer", () => done.length === 2);
});
