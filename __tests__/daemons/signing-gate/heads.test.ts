/** What the gate learns from its node, over a real socket. */
import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { timingsSchema } from "../../../contract/timings";
import { systemClock } from "../../../daemons/runtime/clock";
import { Heads } from "../../../daemons/signing-gate/heads";
import { leastDalBits, mostDalBits } from "../../../tezos/protocols";
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

const recordedConstants = () => {
  const path = join(__dirname, "../../fixtures/wire/octez-25.1/octez-node/015-constants.json");
  const { response } = JSON.parse(readFileSync(path, "utf8")) as { response: { body: string } };
  return JSON.parse(response.body) as { dal_parametric: { number_of_slots: number; attestation_lags: number[] } };
};

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

const lags = (count: number) => Array.from({ length: count }, (_, i) => i + 1);
test.each<[string, object | undefined, number]>([
  ["that are mainnet's", { number_of_slots: 160, attestation_lags: lags(5) }, leastDalBits],
  ["that are larger", { number_of_slots: 256, attestation_lags: lags(8) }, 8 + 8 * 37 * 8 - 3],
  ["that are smaller", { number_of_slots: 16, attestation_lags: lags(2) }, leastDalBits],
  ["that are absurd", { number_of_slots: 2 ** 40, attestation_lags: lags(1000) }, mostDalBits],
  ["without lags", { number_of_slots: 256 }, leastDalBits],
  ["that are texts", { number_of_slots: "256", attestation_lags: lags(8) }, leastDalBits],
  ["that are negative", { number_of_slots: -256, attestation_lags: lags(8) }, leastDalBits],
  ["that are no object", [], leastDalBits],
  ["that are not told", undefined, leastDalBits],
])("a node with constants of the DAL %s changes nothing else", async (_text, dal, bits) => {
  const heads = headsOf();
  const header = { chain_id: chainName, level: 1000, timestamp: new Date().toISOString(), protocol: "P1" };
  answers = { header, "context/constants": { aggregate_attestation: true, dal_parametric: dal } };
  expect(heads.dalBits()).toBe(leastDalBits);
  await heads.poll();
  expect([heads.dalBits(), heads.aggregates()]).toEqual([bits, true]);
});

test("the constants are where a recorded octez-node tells them", async () => {
  const heads = headsOf();
  const header = { chain_id: chainName, level: 1000, timestamp: new Date().toISOString(), protocol: "P1" };
  const recorded = recordedConstants();
  answers = { header, "context/constants": recorded };
  await heads.poll();
  expect([heads.dalBits(), heads.aggregates()]).toEqual([leastDalBits, true]);
  const dal = recorded.dal_parametric;
  expect([dal.number_of_slots, dal.attestation_lags]).toEqual([16, lags(5)]);
  answers["context/constants"] = { ...recorded, dal_parametric: { ...dal, number_of_slots: 320 } };
  answers.header = { ...header, protocol: "P2" };
  await heads.poll();
  expect(heads.dalBits()).toBe(5 + 5 * 46 * 8 - 2);
});

test("what a node told of the DAL stays until a later protocol's constants are told", async () => {
  const heads = headsOf();
  const header = { chain_id: chainName, level: 1000, timestamp: new Date().toISOString(), protocol: "P1" };
  const dal = { number_of_slots: 256, attestation_lags: lags(8) };
  answers = { header, "context/constants": { aggregate_attestation: true, dal_parametric: dal } };
  await heads.poll();
  const before = heads.dalBits();
  expect(before).toBeGreaterThan(leastDalBits);
  answers = { header: { ...header, protocol: "P2" } };
  await heads.poll();
  expect(heads.dalBits()).toBe(before);
  answers["context/constants"] = { aggregate_attestation: true };
  await heads.poll();
  expect(heads.dalBits()).toBe(leastDalBits);
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
