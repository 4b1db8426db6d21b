/** What `doctor` and `status` say of protocols that the pods do not know. */
import type { Cluster } from "../../cockpit/cluster";
import { doctor } from "../../cockpit/doctor";
import { readProtocols } from "../../cockpit/protocols";
import { togProgram } from "../../contract/images";
import type { MemberRecord, ProtocolsStatus } from "../../contract/status";
import { systemClock } from "../../daemons/runtime/clock";
import { createOctezRpc } from "../../daemons/runtime/octez-rpc";
import { askProtocols } from "../../daemons/sidecar/protocol-watch";
import { diagnose } from "../../diagnosis/diagnose";
import { protocolFindings, toldProtocols } from "../../diagnosis/rules/protocols";
import type { BakerView, Member } from "../../diagnosis/view";
import { startTestNode } from "../helpers/octez-node";
import { answerVotes, mainnetAnswers, tallinn, unheardOf, ushuaiaHash } from "../helpers/votes";

const nowMs = Date.parse("2026-05-31T12:00:00Z");
const known = { hash: ushuaiaHash, known: true };
const unknown = { hash: unheardOf, known: false };
const told = (changes: Partial<ProtocolsStatus> = {}): ProtocolsStatus => ({
  ...{ running: known, next: known, proposal: null },
  ...changes,
});
const announced = { ...unknown, period: "promotion" as const, activatesAt: "2026-06-25T12:00:00Z" };
const both = (status: ProtocolsStatus) => ["alice-as-0", "alice-as-1"].map((pod) => ({ pod, ...status }));
const page = "docs/runbooks/octez-upgrade.md#a-protocol-that-the-pods-do-not-know";

test("where every protocol is known, nothing is found", () => {
  expect(protocolFindings(both(told()), nowMs)).toEqual([]);
  expect(protocolFindings(both(told({ proposal: { ...announced, known: true } })), nowMs)).toEqual([]);
  expect(protocolFindings([], nowMs)).toEqual([]);
});

test("an unknown protocol that runs is one warning, whoever says it", () => {
  expect(protocolFindings(both(told({ running: unknown, next: unknown })), nowMs)).toEqual([
    {
      ...{ severity: "warning", certain: false, code: "protocol-unknown" },
      text: `protocol ${unheardOf} runs, and alice-as-0 and alice-as-1 do not know it: the gate refuses whatever has a new form in it`,
      remedy: `a release of this project that knows it, and then a deploy; ${page}`,
    },
  ]);
});

test("one that begins with the next block is a warning, and it is not announced again", () => {
  const found = protocolFindings(both(told({ next: unknown, proposal: { ...announced, period: "adoption" } })), nowMs);
  expect(found.map(({ severity, code }) => [severity, code])).toEqual([["warning", "next-protocol-unknown"]]);
  expect(found[0]?.text).toContain(`protocol ${unheardOf} begins with the next block`);
});

test.each([
  ["2026-06-25T12:00:00Z", ", would begin in about 25 days at the earliest"],
  ["2026-05-31T15:00:00Z", ", would begin in about 3 h at the earliest"],
  ["2026-05-30T12:00:00Z", ", would begin in about 0 s at the earliest"],
  [null, ""],
  ["soon", ""],
])("one that is voted on and begins at %s says its period and when", (activatesAt, when) => {
  const [found, ...more] = protocolFindings(both(told({ proposal: { ...announced, activatesAt } })), nowMs);
  expect([found?.severity, found?.code, more]).toEqual(["note", "announced-protocol-unknown", []]);
  expect(found?.text).toBe(
    `protocol ${unheardOf} is in its promotion period${when}, and alice-as-0 and alice-as-1 do not know it`,
  );
});

test("where only the pods are too old, one is named and this checkout is what to deploy", () => {
  const old = { pod: "alice-as-1", ...told({ running: { ...known, known: false }, next: { ...known, known: false } }) };
  const [found, ...more] = protocolFindings([{ pod: "alice-as-0", ...told() }, old], nowMs);
  expect(more).toEqual([]);
  expect(found?.text).toContain("alice-as-1 does not know it");
  expect(found?.remedy).toBe(`this checkout knows it: npm run publish-images, then npm run deploy; ${page}`);
});

const member = (pod: string, protocols: ProtocolsStatus | undefined, fresh = true) =>
  ({ pod, zone: "z", fresh, clockSeconds: 0, record: { protocols } as MemberRecord }) as Member;
test("silent members and sidecars of an older version tell nothing", () => {
  const members = [
    member("alice-as-0", undefined),
    member("alice-as-1", told({ running: unknown }), false),
    member("alice-as-2", told()),
  ];
  expect(toldProtocols({ members }).map(({ pod }) => pod)).toEqual(["alice-as-2"]);
});

/** A baker that is well: what the cluster says of it. */
const seen = (protocols: ProtocolsStatus | undefined, changes: Partial<BakerView> = {}): BakerView => {
  const record: MemberRecord = {
    ...{ identity: "alice-as-0_u", address: "10.0.0.1", zone: "z", ready: true, eligible: true, reason: "eligible" },
    ...{ headLevel: 100, headTimestamp: null, noncesMissing: 0, daemons: "running", signersAnswering: 1 },
    ...{ state: "active", protocols },
  };
  const members = ["alice-as-0", "alice-as-1"].map((pod) => ({ ...member(pod, protocols), record }));
  return {
    ...{ baker: "alice", held: true, holder: "alice-as-0", topology: "active-standby", members, atMs: nowMs },
    ...{ pods: [], watermarks: [], receipts: [], missingPods: [], ...changes },
  } as unknown as BakerView;
};
const clusterThat = (exec: (pod: string, words: string[]) => Promise<unknown>, pods: string[]) =>
  ({
    ...{ context: "c", namespace: "n", version: () => Promise.resolve("v1"), allowed: () => Promise.resolve(true) },
    sourceRanges: () => Promise.resolve(undefined),
    pods: () => Promise.resolve(pods.map((name) => ({ metadata: { name } }))),
    exec: (pod: string, _container: string, words: string[]) => exec(pod, words),
  }) as unknown as Cluster;
const neverAsked = clusterThat(() => Promise.reject(new Error("no pod is asked")), []);
const checks = async (view: BakerView, cluster = neverAsked) =>
  (await doctor(cluster, () => Promise.resolve(view), { protocols: () => readProtocols(cluster, "alice") })).filter(
    ({ name }) => name.includes("protocol"),
  );

test("status notes what is announced and goes on saying who signs; the doctor warns of it", async () => {
  const view = seen(told({ proposal: announced }));
  const found = diagnose(view).findings.filter(({ code }) => code.includes("protocol"));
  expect(found.map(({ severity }) => severity)).toEqual(["note"]);
  expect(await checks(view)).toEqual([
    expect.objectContaining({ name: "announced-protocol-unknown", state: "warning", text: found[0]?.text }),
  ]);
  const now = seen(told({ running: unknown, next: unknown }));
  expect(await checks(now)).toEqual([expect.objectContaining({ name: "protocol-unknown", state: "warning" })]);
  expect(await checks(seen(told({ proposal: { ...announced, ...known } })))).toMatchObject([
    { name: "protocols", state: "ok", text: "Ushuaia runs, the chain votes on Ushuaia: the pods know it" },
  ]);
});

test("of a baker without members the doctor asks the pod, which asks its node; an older pod is skipped", async () => {
  const node = await startTestNode();
  const rpc = createOctezRpc({ url: node.url, clock: systemClock });
  const asked: string[][] = [];
  let old = false;
  const cluster = clusterThat(
    async (pod, words) => {
      asked.push([pod, ...words]);
      if (old) return { code: 1, out: "", err: 'sidecar takes no argument, keys or signers; got "protocols"' };
      const out = JSON.stringify(await askProtocols(rpc, () => nowMs, { timeoutMs: 5000 }));
      return { code: 0, out, err: "" };
    },
    ["alice-solo-0"],
  );
  const solo = seen(undefined, { topology: "solo", members: [], held: false, holder: "" });
  try {
    answerVotes(node.lies, mainnetAnswers);
    expect(await checks(solo, cluster)).toMatchObject([
      { name: "protocols", state: "ok", text: "Tallinn runs, the chain votes on Ushuaia: the pods know it" },
    ]);
    expect(asked).toEqual([["alice-solo-0", togProgram, "sidecar", "protocols"]]);
    const protocols = `{"protocol":"${unheardOf}","next_protocol":"${unheardOf}"}`;
    answerVotes(node.lies, { ...mainnetAnswers, protocols, proposal: `"${tallinn}"` });
    expect(await checks(solo, cluster)).toMatchObject([{ name: "protocol-unknown", state: "warning" }]);
    old = true;
    expect(await checks(solo, cluster)).toMatchObject([{ name: "protocols", state: "skipped" }]);
  } finally {
    rpc.close();
    await node.stop();
  }
});
