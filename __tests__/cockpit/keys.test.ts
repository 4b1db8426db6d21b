/** The delegate's keys on the chain beside those of the baker: what the node's double tells, and what is missing. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { ClusterError, type Cluster } from "../../cockpit/cluster";
import { doctor } from "../../cockpit/doctor";
import { cockpit } from "../../cockpit/main";
import type { ChainKeys } from "../../contract/chain-keys";
import { togProgram } from "../../contract/images";
import { watermarkName } from "../../contract/names";
import { noMarks } from "../../contract/watermark";
import { systemClock } from "../../daemons/runtime/clock";
import { createOctezRpc, type OctezRpc } from "../../daemons/runtime/octez-rpc";
import { chainKeys } from "../../daemons/sidecar/chain-keys";
import { keysView } from "../../diagnosis/keys";
import type { BakerView } from "../../diagnosis/view";
import { Chain } from "../../lab/chain/chain";
import { encodeVoteRequest } from "../../lab/chain/encode";
import { lab } from "../../lab/doubles/common";
import { NodeRpc } from "../../lab/doubles/node-rpc";
import { NodeView } from "../../lab/doubles/node-view";
import { provesPossession, signBytes, testKey } from "../../lab/doubles/signing-keys";
import { expectBase58 } from "../../tezos/base58";
import { solidBakerFile } from "../helpers/baker-file";

const own = testKey("tz1", "own");
const next = testKey("tz2", "next");
const bls = testKey("tz4", "bls");
const companion = testKey("tz4", "companion");
const chainId = "NetXsqzbfFenSTS";

describe("what a node tells", () => {
  let chain: Chain;
  let rpc: OctezRpc;
  let view: NodeView;
  const open: { close(): void }[] = [];
  const read = () => chainKeys(rpc, own.address, chainId);

  beforeEach(async () => {
    chain = new Chain({
      ...{ seed: "keys", chainId, protocol: "PsUshuai9QapM5TGj1JpuVGkdxz5GykdnEvS6Rh8SUVrARvZLCY", blockMs: 6000 },
      ...{ delegate: own.address, consensusKey: own.address, blockShare: 0, attestationShare: 1 },
      keys: { consensus: [{ cycle: 0, address: own.address, publicKey: own.publicKey }], companion: [] },
      ...{ blocksPerCycle: 8, blocksPerCommitment: 4, revelationBlocks: 6, startLevel: 801, virtualPeers: 1 },
    });
    chain.start();
    const served = await chain.serve("127.0.0.1");
    lab.chain = `127.0.0.1:${served.port}`;
    view = new NodeView();
    view.parameters = chain.options;
    chain.blocks.forEach((block) => view.accept(block));
    const node = new NodeRpc(view);
    const server: Server = createServer((request, response) => {
      void node.serve(request, response, new URL(request.url ?? "/", "http://octez"), "");
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    rpc = createOctezRpc({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, clock: systemClock });
    open.push(served, rpc, { close: () => server.close() }, { close: () => chain.stop() });
  });
  afterEach(() => open.splice(0).forEach((one) => one.close()));

  test("without a registered key the delegate's own is active, and there is no companion key", async () => {
    expect(await read()).toEqual({
      ...{ delegate: own.address, level: 801, cycle: 100, cyclePosition: 0, blocksPerCycle: 8, blockSeconds: 6 },
      consensus: { active: own.address, pending: [] },
      companion: { active: null, pending: [] },
    });
  });

  test("registered keys are pending until their cycle, and an update of the same cycle takes the first one's place", async () => {
    const register = (kind: "consensus" | "companion", key: typeof bls) =>
      chain.registerKey({
        kind,
        publicKey: key.publicKey,
        proof: key.address.startsWith("tz4") ? provesPossession(key) : undefined,
      });
    expect(register("consensus", next)).toHaveProperty("hash");
    expect(register("consensus", bls)).toHaveProperty("hash");
    expect(register("companion", companion)).toHaveProperty("hash");
    expect(await read()).toMatchObject({
      consensus: { active: own.address, pending: [{ cycle: 103, address: bls.address }] },
      companion: { active: null, pending: [{ cycle: 103, address: companion.address }] },
    });
    const head = chain.head;
    view.accept({ ...head, level: 103 * 8 + 1, hash: head.hash.replace(/.$/, "x") });
    const at = await rpc.consensusKeys({ timeoutMs: 1000, delegate: own.address, block: String(103 * 8 + 1) });
    expect(at).toMatchObject({ ok: true, value: { active: bls.address, pending: [] } });
  });

  test.each([
    ["a tz4 key without proof of possession", "consensus", bls, undefined, "validate.operation.incorrect_bls_proof"],
    ["a proof of another key", "consensus", bls, provesPossession(companion), "validate.operation.incorrect_bls_proof"],
    ["a companion key that is no tz4", "companion", next, undefined, "delegate.companion_key.not_tz4"],
    ["the key that is active", "consensus", own, undefined, "delegate.consensus_key.invalid_noop"],
  ] as const)("the chain refuses %s", async (_what, kind, { publicKey }, proof, error) => {
    expect(chain.registerKey({ kind, publicKey, proof })).toEqual({ error });
    expect(await read()).toMatchObject({ consensus: { pending: [] }, companion: { pending: [] } });
  });

  test("the chain takes the votes of the key that is active at their level, and no other's", () => {
    const { header, level, round, payloadHash } = chain.head;
    const vote = { kind: "attestation", branch: String(header.predecessor), level, round, payloadHash } as const;
    const bytes = encodeVoteRequest(chainId, { ...vote, slot: 5, dal: null });
    const signedBy = (key: typeof own) => {
      const signature = expectBase58(key === own ? "edsig" : "spsig1", signBytes(key, bytes));
      const data = Buffer.concat([bytes.subarray(5), signature]).toString("hex");
      return chain.inject({ kind: "operation", pod: "alice-as-0", data });
    };
    chain.registerKey({ kind: "consensus", publicKey: next.publicKey });
    expect(signedBy(next)).toEqual({ error: "operation.invalid_signature" });
    expect(signedBy(own)).toHaveProperty("hash");
  });

  test("a delegate that is none, and another chain, are errors that name them", async () => {
    await expect(chainKeys(rpc, next.address, chainId)).rejects.toThrow(
      `the node does not tell the consensus keys of ${next.address}: HTTP 500`,
    );
    await expect(chainKeys(rpc, own.address, "NetXdQprcVkpaWU")).rejects.toThrow(
      /the node follows NetXsqzbfFenSTS, not/,
    );
  });
});

const given = (addresses: readonly string[], dal = true) =>
  solidBakerFile({
    topology: "active-standby",
    daemons: [
      { name: "octez-baker", command: ["octez-baker", ...(dal ? ["--dal-node", "http://x"] : ["--without-dal"])] },
    ],
    delegate: own.address,
    keys: addresses.map((address, i) => ({
      ...{ address, alias: `key-${i}`, watermark: watermarkName(address), signers: ["home1"] },
    })),
  });
/** A baker whose pods run with these keys, and all of them are ready. */
function viewWith(
  addresses: readonly string[],
  change: { dal?: boolean; started?: readonly string[] } = {},
): BakerView {
  const keys = (change.started ?? addresses).map((address) => ({ address, state: "open", reason: "", signers: 1 }));
  const record = { floor: 90, epoch: 3, marks: noMarks };
  const member = {
    ...{ identity: "", address: "", zone: "z", ready: true, eligible: true, reason: "eligible", headLevel: 801 },
    ...{ headTimestamp: null, noncesMissing: 0, daemons: "running", signersAnswering: 1, state: "active", keys },
  };
  return {
    ...{ baker: "alice", topology: "active-standby", held: true, holder: "alice-as-0", pods: [], receipts: [] },
    lease: { holderIdentity: "alice-as-0_u", leaseTransitions: 3, metadata: { name: "alice.leader", annotations: {} } },
    missingPods: [],
    members: ["alice-as-0", "alice-as-1"].map((pod) => ({ pod, fresh: true, clockSeconds: 0, record: member })),
    watermarks: addresses.map((address) => ({ name: watermarkName(address), address, record, missing: "" })),
    file: given(addresses, change.dal),
  } as unknown as BakerView;
}
const onChain = (changes: Partial<Pick<ChainKeys, "consensus" | "companion">> = {}): ChainKeys => ({
  ...{ delegate: own.address, level: 801, cycle: 100, cyclePosition: 0, blocksPerCycle: 14400, blockSeconds: 6 },
  consensus: { active: own.address, pending: [] },
  companion: { active: null, pending: [] },
  ...changes,
});
const from = (cycle: number, { address }: { address: string }) => ({ cycle, address });
const rotating = onChain({ consensus: { active: own.address, pending: [from(103, next)] } });
const toBls = onChain({
  consensus: { active: own.address, pending: [from(103, bls)] },
  companion: { active: null, pending: [from(103, companion)] },
});

describe("what is missing", () => {
  test.each([
    ["one key for ever", onChain(), viewWith([own.address])],
    ["a rotation", rotating, viewWith([own.address, next.address])],
    ["from a Ledger to tz4", toBls, viewWith([own.address, bls.address, companion.address])],
    [
      "a tz4 key without DAL",
      { ...toBls, companion: onChain().companion },
      viewWith([own.address, bls.address], { dal: false }),
    ],
  ])("nothing: %s", (_what, chain, view) => {
    expect(keysView(chain, view).findings).toEqual([]);
  });

  const cases: [string, ChainKeys, BakerView, string, RegExp][] = [
    [
      "the active key was taken out of the configuration",
      rotating,
      viewWith([next.address]),
      "critical key-not-given",
      /^tz1.* is the active consensus key, and the baker was not given it: it signs nothing$/,
    ],
    [
      "a pending key is not in the configuration",
      rotating,
      viewWith([own.address]),
      "critical next-key-not-given",
      /^tz2.* is the consensus key from cycle 103, in about 3 days, and the baker was not given it/,
    ],
    [
      "a companion key is not in the configuration",
      toBls,
      viewWith([own.address, bls.address]),
      "warning companion-not-given",
      /^tz4.* is the companion key from cycle 103, .* was not given it: attestations have no DAL content/,
    ],
    [
      "no companion key is registered for a tz4 key",
      { ...toBls, companion: onChain().companion },
      viewWith([own.address, bls.address]),
      "warning companion-not-registered",
      /^tz4.* signs from cycle 103, .* no companion key is registered until then/,
    ],
    [
      "the companion key comes later than the tz4 key",
      { ...toBls, companion: { active: null, pending: [from(104, companion)] } },
      viewWith([own.address, bls.address, companion.address]),
      "warning companion-not-registered",
      /no companion key is registered until then/,
    ],
    [
      "a pod was started before the key was added",
      rotating,
      viewWith([own.address, next.address], { started: [own.address] }),
      "warning key-not-taken-over",
      /^alice-as-0 and alice-as-1 were started without tz2/,
    ],
    [
      "a pending key without a gate that would have asked the signer for it",
      rotating,
      { ...viewWith([own.address, next.address]), topology: "solo" },
      "warning key-not-checked",
      /^not checked: there is no signing gate in this mode, so nobody has asked the signer for tz2/,
    ],
    [
      "a key that nobody has registered",
      onChain(),
      viewWith([own.address, next.address]),
      "note key-not-on-chain",
      /^tz2.* \(key-1\) is neither active nor pending on the chain$/,
    ],
  ];
  test.each(cases)("%s", (_what, chain, view, code, text) => {
    const { findings } = keysView(chain, view);
    expect(findings.map((one) => `${one.severity} ${one.code}`)).toEqual([code]);
    expect(findings[0]?.text).toMatch(text);
  });

  test("a watermark that is missing or was never written, and a signer without the key, are named", () => {
    const view = viewWith([own.address, next.address]);
    const [, mark] = view.watermarks;
    const codes = () => keysView(rotating, view).findings.map(({ code }) => code);
    Object.assign(mark ?? {}, { record: undefined, missing: "absent" });
    expect(codes()).toEqual(["watermark-absent"]);
    Object.assign(mark ?? {}, { missing: "empty" });
    expect(codes()).toEqual(["watermark-not-begun"]);
    Object.assign(mark ?? {}, { record: { floor: 90, epoch: 3, marks: noMarks }, missing: "" });
    Object.assign(view.members[0]?.record?.keys?.[1] ?? {}, { signers: 0 });
    expect(codes()).toEqual(["key-without-signer"]);
  });
});

describe("the command", () => {
  const podsOf = ["alice-as-0", "alice-as-1"].map((name) => ({
    metadata: { name, uid: "u", resourceVersion: "1", labels: { baker: "alice" }, annotations: {} },
    ...{ phase: "Running", node: "n", deleting: false, init: "", containers: [] },
  }));
  const told = new Map<string, { code: number; out: string; err: string }>();
  const cluster = {
    ...{ context: "here", namespace: "tezos" },
    pods: () => Promise.resolve(podsOf),
    lease: () => Promise.resolve(undefined),
    configMaps: () =>
      Promise.resolve([
        {
          metadata: { name: "alice-as", uid: "u", resourceVersion: "1", labels: { baker: "alice" }, annotations: {} },
          data: { "baker.json": JSON.stringify(given([own.address, next.address])) },
        },
      ]),
    exec: (pod: string, container: string, command: string[]) => {
      expect([container, ...command]).toEqual(["sidecar", togProgram, "sidecar", "keys"]);
      return Promise.resolve(told.get(pod) ?? { code: 1, out: "", err: "the node does not tell its chain: refused\n" });
    },
  } as unknown as Cluster;
  const run = async (...words: string[]) => {
    const said = { out: "", err: "" };
    const code = await cockpit(["keys", ...words], {
      connect: () => cluster,
      terminal: false,
      out: (text) => void (said.out += text),
      err: (text) => void (said.err += text),
    });
    return { ...said, code };
  };
  const tells = (chain: ChainKeys) => ({ code: 0, out: JSON.stringify(chain), err: "" });
  beforeEach(() => told.clear());

  test("it shows each key, what it is on the chain and whether the baker has it, by the node that is ahead", async () => {
    told.set("alice-as-0", tells(onChain()));
    told.set("alice-as-1", tells({ ...rotating, level: 802 }));
    const { code, out } = await run();
    expect(out).toContain(`level 802`);
    expect(out).toContain(`${own.address}  key-0\n  chain      active consensus key`);
    expect(out).toContain(`${next.address}  key-1\n  chain      consensus key from cycle 103, in about 3 days`);
    // There is no watermark object in this cluster.
    expect(code).toBe(1);
    const { keys, findings } = JSON.parse((await run("--json")).out) as {
      keys: unknown[];
      findings: { code: string }[];
    };
    expect(keys).toContainEqual(
      expect.objectContaining({ address: next.address, alias: "key-1", watermark: "absent" }),
    );
    expect(findings.map((one) => one.code)).toEqual(["watermark-absent", "watermark-absent"]);
  });
  test("a node that does not answer is passed over; where none does, each says why, and the exit code is 1", async () => {
    told.set("alice-as-1", tells(onChain()));
    expect((await run()).out).toContain("active consensus key");
    told.clear();
    const { code, err } = await run();
    expect([code, err]).toEqual([1, expect.stringContaining("alice-as-0: the node does not tell its chain: refused")]);
  });
  test("the doctor names a key that the chain has active and the configuration no longer has", async () => {
    const quiet = { ...cluster, version: () => Promise.resolve("v1"), allowed: () => Promise.resolve(true) } as Cluster;
    quiet.sourceRanges = () => Promise.resolve(undefined);
    const look = async (chain: () => Promise<ChainKeys>) =>
      (await doctor(quiet, () => Promise.resolve(viewWith([next.address])), { chainKeys: chain })).map(
        ({ name, state }) => `${name} ${state}`,
      );
    expect(await look(() => Promise.resolve(rotating))).toContain("key-not-given failed");
    expect(await look(() => Promise.reject(new ClusterError("other", "no node")))).toContain("keys skipped");
  });
});
