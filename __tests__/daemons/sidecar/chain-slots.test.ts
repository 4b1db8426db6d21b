/** What `tog sidecar slots` tells of the chain; how a node tells rights is as recorded of Octez 25.1. */
import { networks } from "../../../contract/networks";
import { systemClock } from "../../../daemons/runtime/clock";
import { createOctezRpc, type OctezRpc } from "../../../daemons/runtime/octez-rpc";
import { chainSlots } from "../../../daemons/sidecar/chain-slots";
import { startTestNode } from "../../helpers/octez-node";
import { bodyOf, recordedJson, type Exchange } from "../../helpers/octez-recordings";

const { chainId } = networks.shadownet;
interface Told {
  head: number;
  /** Levels. */
  rights: number[];
  /** The account as of each block, from block `from` on. */
  accounts: number[];
  bakes: number[];
  rounds: Record<number, number>;
  failing: string;
}
function node(from: number, told: Partial<Told>) {
  const { head = 110, rights = [], accounts = [], bakes = [], rounds = {}, failing = "" } = told;
  const asked: number[][] = [];
  const answer = <T>(what: string, value: T) =>
    Promise.resolve(
      what === failing
        ? { ok: false as const, kind: "timeout" as const, status: 0, message: `no ${what} in time`, sentAtMs: 0 }
        : { ok: true as const, value, sentAtMs: 0 },
    );
  const rpc = {
    header: ({ block }: { block?: string }) =>
      answer(block === undefined ? "head" : "header", {
        level: Number(block ?? head),
        round: rounds[Number(block)] ?? 0,
        chainId,
      }),
    constants: () => answer("constants", { minimalBlockDelaySeconds: 6 }),
    participation: ({ block }: { block: string }) =>
      answer("participation", { missedSlots: 0, missedLevels: accounts[Number(block) - from] ?? 0 }),
    attestationRights: ({ levels }: { levels: number[] }) => {
      asked.push(levels);
      return answer(
        "rights",
        rights.filter((level) => levels.includes(level)),
      );
    },
    bakingRights: ({ levels }: { levels: number[] }) =>
      answer(
        "baking",
        bakes.filter((level) => levels.includes(level)).map((level) => ({ level, round: 0 })),
      ),
  } as unknown as OctezRpc;
  return { asked, look: () => chainSlots(rpc, { delegate: "tz1a", chainId, from }) };
}

test("a level is included, missed or without a right, by the account of the block after it", async () => {
  const { look } = node(104, { rights: [104, 105, 107, 108], accounts: [7, 7, 8, 8, 8, 8] });
  expect(await look()).toEqual({
    ...{ delegate: "tz1a", head: 110, blockSeconds: 6 },
    levels: [
      { level: 104, attestation: "included", block: "none" },
      { level: 105, attestation: "missed", block: "none" },
      { level: 106, attestation: "none", block: "none" },
      { level: 107, attestation: "included", block: "none" },
      { level: 108, attestation: "included", block: "none" },
    ],
  });
});

test("a block of ours is baked, or missed where another round's block is on the chain", async () => {
  const { look } = node(106, { bakes: [106, 108], rounds: { 108: 1 } });
  expect((await look()).levels.map(({ block }) => block)).toEqual(["baked", "none", "missed"]);
});

test("the round of a block that the node does not tell is not known", async () => {
  const { look } = node(106, { bakes: [106], failing: "header" });
  expect((await look()).levels[0]?.block).toBe("unknown");
});

test("the last two blocks may still change, so nothing is said of them", async () => {
  expect((await node(109, { rights: [109, 110] }).look()).levels).toEqual([]);
  expect((await node(108, { rights: [108] }).look()).levels).toHaveLength(1);
});

test("after a long time the answer is cut, and the next question goes on from there", async () => {
  const { look, asked } = node(104, { head: 1000 });
  expect((await look()).levels.at(-1)?.level).toBe(203);
  expect(asked[0]).toHaveLength(100);
});

test.each(["head", "constants", "participation", "rights", "baking"])(
  "a node that does not tell %s leaves no number that looks like one",
  async (failing) => {
    await expect(node(104, { failing }).look()).rejects.toThrow();
  },
);

test("a node of another chain is not believed", async () => {
  const rpc = { header: () => Promise.resolve({ ok: true, value: { chainId: "NetXother" } }) } as unknown as OctezRpc;
  await expect(chainSlots(rpc, { delegate: "tz1a", chainId })).rejects.toThrow("not the configured chain");
});

test("the rights to attest are read as Octez 25.1 tells them, one delegate's alone", async () => {
  const server = await startTestNode();
  const rpc = createOctezRpc({ url: server.url, clock: systemClock });
  const { response } = recordedJson<Exchange>("octez-node/029-attestation-rights-delegate.json");
  server.lies.set("/chains/main/blocks/head/helpers/attestation_rights", { text: bodyOf(response) });
  const ours = "tz4SPS15Shw86tE1ChEByGZwCCAR8nU3dWXS";
  const ask = (delegate: string) => rpc.attestationRights({ timeoutMs: 1000, levels: [107], delegate });
  try {
    expect(await ask(ours)).toMatchObject({ ok: true, value: [107] });
    expect(server.requests).toContain(`/chains/main/blocks/head/helpers/attestation_rights?level=107&delegate=${ours}`);
    expect(await ask("tz1other")).toMatchObject({ ok: true, value: [] });
  } finally {
    rpc.close();
    await server.stop();
  }
});
