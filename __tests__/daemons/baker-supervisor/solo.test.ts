import { watermarkDataKey } from "../../../contract/names";
import type { Watermark } from "../../../contract/watermark";
import {
  lastPossibleLevel,
  leavesFloor,
  leaveSolo,
  soloConditions,
  trySolo,
  type SoloFacts,
} from "../../../daemons/baker-supervisor/solo";
import { systemClock } from "../../../daemons/runtime/clock";
import type { ConfigMap, KubeClient } from "../../../daemons/runtime/kube";
import { createKubeClient } from "../../../daemons/runtime/kube-client";
import { solidBakerFile } from "../../helpers/baker-file";
import { startKube, testNamespace, type TestKube } from "../../helpers/kube";

const record = {
  ...{ version: 1 as const, baker: "alice", chain: "Net", epoch: 3, holder: "x", floor: 90, unfenced: false },
  marks: { block: { level: 100, round: 0, digest: "0".repeat(64) }, preattestation: null, attestation: null },
};
const judge = (facts: Partial<SoloFacts>, chain = "Net") =>
  soloConditions(
    {
      ...{ records: [{ name: "wm-a", record }], headLevel: 101, signedUpTo: null },
      ...{ own: { pod: "alice-solo-0", level: null }, ...facts },
    },
    "alice",
    chain,
  );

test("a solo baker starts above every mark of its own chain", () => {
  expect(judge({})).toMatchObject({ ok: true });
  expect(judge({ headLevel: 100 })).toMatchObject({ ok: false, reason: "head-not-above-marks" });
  expect(judge({}, "Other")).toMatchObject({ ok: false, reason: "watermark-of-another-chain" });
});

test("the floor that this pod has left from the same client folder holds back nothing that octez-baker does not", () => {
  const left = (holder: string, ownLevel: number | null) =>
    judge({
      records: [{ name: "wm-a", record: { ...record, holder, floor: 102 } }],
      ...{ headLevel: 101, own: { pod: "alice-solo-0", level: ownLevel } },
    });
  expect(left("alice-solo-0_u1", 102)).toMatchObject({ ok: true });
  expect(left("alice-solo-0_u1", 101)).toMatchObject({ ok: false, reason: "head-not-above-marks" });
  expect(left("alice-solo-0_u1", null)).toMatchObject({ ok: false, reason: "head-not-above-marks" });
  expect(left("alice-as-0_u1", 102)).toMatchObject({ ok: false, reason: "head-not-above-marks" });
});

test("with broken high watermarks it waits until the head has passed what can have been signed", () => {
  expect(judge({ signedUpTo: "unknown" })).toMatchObject({ ok: false, reason: "high-watermarks-broken" });
  expect(judge({ signedUpTo: 106, headLevel: 106 })).toMatchObject({ ok: false, reason: "high-watermarks-broken" });
  expect(judge({ records: [], signedUpTo: 106, headLevel: null })).toMatchObject({ reason: "high-watermarks-broken" });
  expect(judge({ signedUpTo: 106, headLevel: 107 })).toMatchObject({ ok: true });
});

test("only a synced head says what can have been signed", () => {
  expect(lastPossibleLevel({ level: 101, ageSeconds: 24 }, 60)).toBe(106);
  expect(lastPossibleLevel({ level: 101, ageSeconds: 25 }, 60)).toBe("unknown");
  expect(lastPossibleLevel({ level: 101, ageSeconds: -7 }, 60)).toBe("unknown");
  expect(lastPossibleLevel(null, 60)).toBe("unknown");
});

describe("the floor that a run leaves", () => {
  test("rests on files that know of this run, and reach all that may have been signed before it", () => {
    const own = (level: number | null, before = 90) => ({ before, level });
    expect(leavesFloor(own(100), null)).toBe(true);
    expect(leavesFloor(own(90), null)).toBe(false);
    expect(leavesFloor(own(null), null)).toBe(false);
    expect(leavesFloor(own(100), 100)).toBe(true);
    expect(leavesFloor(own(100), 101)).toBe(false);
    expect(leavesFloor(own(100), "unknown")).toBe(false);
  });

  const file = solidBakerFile({ baker: "alice" });
  const [name = ""] = file.keys.map((key) => key.watermark);
  const signal = new AbortController().signal;
  const timeoutMs = 10_000;
  let api: TestKube;
  let kube: KubeClient;
  const found = () => api.api.read("configmaps", testNamespace, name) as ConfigMap;
  const unfenced = () => (JSON.parse(found().data?.[watermarkDataKey] ?? "null") as Watermark).unfenced;
  const start = (run: string) =>
    trySolo({
      ...{ kube, file, run, timeoutMs, signal, identity: "alice-solo-0_u1", headLevel: 200, signedUpTo: null },
      own: { pod: "alice-solo-0", level: null },
    });
  const leave = (run: string) =>
    leaveSolo({ kube, file, run, timeoutMs, signal, identity: "alice-solo-0_u1", ownLevel: 250 });
  beforeEach(async () => {
    api = await startKube();
    kube = createKubeClient({
      ...{ url: api.url, kubeDir: api.kubeDir("pod"), namespace: testNamespace, clock: systemClock },
    });
    const fenced = { ...record, baker: file.baker, chain: file.network.chainId };
    api.api.apply("configmaps", testNamespace, {
      ...{ apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace: testNamespace } },
      data: { [watermarkDataKey]: JSON.stringify(fenced) },
    });
  });
  afterEach(async () => {
    kube.close();
    await api.stop();
  });

  test("is written by the run that has marked the watermark, and by no earlier one", async () => {
    expect(await start("one")).toMatchObject({ ok: true, wasUnfenced: false });
    expect(await start("two")).toMatchObject({ ok: true, wasUnfenced: true });
    expect(await leave("one")).toEqual([]);
    expect(unfenced()).toBe(true);
    expect(await leave("two")).toEqual([name]);
    expect(JSON.parse(found().data?.[watermarkDataKey] ?? "")).toMatchObject({ floor: 250, unfenced: false });
  });
  test("of an earlier run meets another version where it comes late", async () => {
    await start("one");
    const late = found();
    await start("two");
    expect(await kube.replace("configmaps", late, { timeoutMs, signal })).toMatchObject({ kind: "conflict" });
    // Once for each run.
    const version = found().metadata.resourceVersion;
    expect(await start("two")).toMatchObject({ ok: true, wasUnfenced: false });
    expect(found().metadata.resourceVersion).toBe(version);
  });
});
