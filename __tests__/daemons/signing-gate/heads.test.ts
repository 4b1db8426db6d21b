/** What the gate learns from its node, over a real socket. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { timingsSchema } from "../../../contract/timings";
import { systemClock } from "../../../daemons/runtime/clock";
import { Heads } from "../../../daemons/signing-gate/heads";
import { chainName } from "../../helpers/gates";

let server: Server;
let answers: Record<string, object>;
beforeEach(async () => {
  server = createServer((request, response) => {
    const body = answers[(request.url ?? "").replace("/chains/main/blocks/head/", "")];
    response.writeHead(body ? 200 : 404).end(JSON.stringify(body ?? []));
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
});
afterEach(() => new Promise((done) => server.close(done).closeAllConnections()));

const headsOf = () =>
  new Heads({
    rpc: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    chainId: chainName,
    timings: timingsSchema.parse({}),
    clock: systemClock,
    members: () => Promise.resolve([]),
    podAddress: "",
  });

test("whether votes are aggregated is known for the protocol of the head alone", async () => {
  const heads = headsOf();
  const header = { chain_id: chainName, level: 1000, timestamp: new Date().toISOString(), protocol: "P1" };
  answers = { header };
  await heads.poll();
  expect([heads.own()?.level, heads.aggregates()]).toEqual([1000, null]);
  answers = { header, "context/constants": { aggregate_attestation: false, other: 1 } };
  await heads.poll();
  expect(heads.aggregates()).toBe(false);
  answers = { header };
  await heads.poll();
  expect(heads.aggregates()).toBe(false);
  answers = { header: { ...header, protocol: "P2" }, "context/constants": {} };
  await heads.poll();
  expect(heads.aggregates()).toBe(null);
  answers["context/constants"] = { aggregate_attestation: true };
  await heads.poll();
  expect(heads.aggregates()).toBe(true);
});

test.each([
  ["15", 23, 1000],
  ["15", 25, null],
  ["6", 23, 1000],
  ["2", 7, 1000],
  // Twelve blocks of a chain this fast may lie above a head that is 23 s old.
  ["2", 23, null],
])("with blocks every %s s a head of age %s s proves level %s", async (minimalBlockDelay, age, level) => {
  const heads = headsOf();
  const timestamp = new Date(Date.now() - 1000 * age).toISOString();
  answers = {
    header: { chain_id: chainName, level: 1000, timestamp, protocol: "P1" },
    "context/constants": { aggregate_attestation: true, minimal_block_delay: minimalBlockDelay },
  };
  await heads.poll();
  expect(await heads.synced()).toBe(level);
  expect(heads.own()?.freshSeconds).toBe(Math.min(60, 10 * Number(minimalBlockDelay)));
});
