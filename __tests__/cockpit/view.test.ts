import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { archive } from "../../cockpit/archive";
import { reportFiles } from "../../cockpit/report";
import { bakerFile } from "../helpers/nonce-pods";
import { writePause } from "../../contract/handover-pause";
import { annotations } from "../../contract/names";
import type { MemberRecord } from "../../contract/status";
import type { Watermark } from "../../contract/watermark";
import { ClusterError, type Cluster } from "../../cockpit/cluster";
import { doctor } from "../../cockpit/doctor";
import { renderHistory, renderReceipt, renderStatus } from "../../cockpit/render";
import { table } from "../../cockpit/text";
import { cancelSwitchover, drill, performSwitchover, planSwitchover } from "../../cockpit/switchover";
import { readView, type ViewOptions } from "../../cockpit/view";
import { diagnose } from "../../diagnosis/diagnose";
import { missedSlotsOf } from "../../diagnosis/missed-slots";
import type { LeaseView } from "../../diagnosis/objects";
import type { BakerView } from "../../diagnosis/view";

const start = 1_800_000_000_000;
const record = (changes: Partial<MemberRecord> = {}): MemberRecord => ({
  identity: "alice-as-0_u0",
  address: "10.0.0.1",
  zone: "z",
  ready: true,
  eligible: true,
  reason: "eligible",
  headLevel: 100,
  headTimestamp: null,
  noncesMissing: 0,
  daemons: "running",
  signersAnswering: 1,
  state: "active",
  ...changes,
});
const mark = (changes: Partial<Watermark> = {}): Watermark => ({
  version: 1,
  baker: "alice",
  chain: "NetXsqzbfFenSTS",
  epoch: 7,
  holder: "alice-as-0_u0",
  floor: 90,
  marks: { block: null, preattestation: null, attestation: { level: 100, round: 0, digest: "a".repeat(64) } },
  unfenced: false,
  ...changes,
});

const wellDal: NonNullable<MemberRecord["dal"]> = {
  ...{ well: true, reason: "", health: "up", peers: 7, levelsBehind: 0, restarts: 0 },
  ...{ attestedSlots: 40, attestableSlots: 41, sufficient: true },
};

/** A cluster of plain objects; `at` advances with sleeps, so that nothing waits. */
class FakeCluster implements Cluster {
  context = "test";
  readonly server = "https://cluster";
  namespace = "tezos";
  at = start;
  leases = new Map<string, LeaseView>();
  maps: { name: string; data: Record<string, string> }[] = [
    { name: `wm-${"0".repeat(40)}`, data: { watermark: JSON.stringify(mark()) } },
  ];
  podNames = ["alice-as-0", "alice-as-1"];
  inits: Record<string, string> = {};
  ended: { how: string; atMs: number } | undefined;
  conflicts = 0;
  reachable = true;
  onSleep: () => void = () => undefined;
  constructor() {
    this.put("alice.leader", { holderIdentity: "alice-as-0_u0", leaseTransitions: 7 });
    this.put("alice.member-0", {}, { [annotations.member]: JSON.stringify(record()) });
    this.put(
      "alice.member-1",
      {},
      {
        [annotations.member]: JSON.stringify(
          record({ identity: "alice-as-1_u1", daemons: "stopped", state: "standby" }),
        ),
      },
    );
  }
  put(name: string, changes: Partial<LeaseView>, notes?: Record<string, string>): void {
    const old = this.leases.get(name);
    this.leases.set(name, {
      holderIdentity: old?.holderIdentity ?? "",
      leaseDurationSeconds: 6,
      leaseTransitions: old?.leaseTransitions ?? 0,
      renewTimeMs: this.at,
      ...changes,
      metadata: {
        name,
        uid: "u",
        labels: {},
        resourceVersion: String(Number(old?.metadata.resourceVersion ?? 0) + 1),
        annotations: { ...old?.metadata.annotations, ...notes },
      },
    });
  }
  member(ordinal: number, changes: Partial<MemberRecord>): void {
    this.put(
      `alice.member-${ordinal}`,
      {},
      { [annotations.member]: JSON.stringify(record({ identity: `alice-as-${ordinal}_u`, ...changes })) },
    );
  }
  version = () =>
    this.reachable ? Promise.resolve("v1") : Promise.reject(new ClusterError("unreachable", "no answer"));
  lease = (name: string): Promise<LeaseView | undefined> => Promise.resolve(this.leases.get(name));
  configMaps = () =>
    Promise.resolve(
      this.maps.map(({ name, data }) => ({
        metadata: { name, uid: "u", resourceVersion: "1", labels: { baker: "alice" }, annotations: {} },
        data,
      })),
    );
  pods = () =>
    Promise.resolve(
      this.podNames.map((name) => ({
        metadata: {
          name,
          uid: `u${name.slice(-1)}`,
          resourceVersion: "1",
          labels: { baker: "alice" },
          annotations: {},
        },
        phase: "Running",
        node: "n",
        deleting: false,
        containers: [{ name: "octez-node", ready: true, running: true, restarts: 0, waiting: "", ended: this.ended }],
        init: this.inits[name] ?? "",
      })),
    );
  annotateLease = (lease: LeaseView, notes: Record<string, string>, dryRun = false) => {
    if (
      this.conflicts-- > 0 ||
      this.leases.get(lease.metadata.name)?.metadata.resourceVersion !== lease.metadata.resourceVersion
    )
      return Promise.reject(new ClusterError("conflict", "changed"));
    if (!dryRun) this.put(lease.metadata.name, { renewTimeMs: lease.renewTimeMs }, notes);
    return Promise.resolve();
  };
  configMap = () => Promise.reject(new Error("nobody reads one watermark here"));
  exec = () => Promise.reject(new Error("nobody runs anything here"));
  writeConfigMap = () => Promise.reject(new Error("nobody writes a watermark here"));
  askService = () => Promise.reject(new Error("nobody asks a service here"));
  serverVersion = () => Promise.resolve("v1.36.3");
  events = () => Promise.resolve([]);
  logs = (pod: string, container: string) => Promise.resolve(`${pod} ${container}: ${this.logText}`);
  logText = "";
  allowed = () => Promise.resolve(true);
  sourceRanges = (): Promise<string[] | undefined> => Promise.resolve(["203.0.113.7/32"]);
  options: ViewOptions = {
    now: () => this.at,
    sleep: (ms) => {
      this.at += ms;
      this.onSleep();
      return Promise.resolve();
    },
  };
  view = (): Promise<BakerView> => readView(this, "alice", this.options);
}
const codes = (view: BakerView) => diagnose(view).findings.map((finding) => finding.code);

test("a healthy baker is signing, and the sentence names the master and the epoch", async () => {
  const view = await new FakeCluster().view();
  expect(diagnose(view)).toEqual({ signing: true, sentence: "alice-as-0 signs (epoch 7)", findings: [] });
});

const broken: [string, (cluster: FakeCluster) => void, string, boolean][] = [
  ["the standby is silent", (c) => c.put("alice.member-1", { renewTimeMs: start - 60_000 }), "member-silent", true],
  [
    "the master is silent and holds",
    (c) => c.put("alice.member-0", { renewTimeMs: start - 60_000 }),
    "member-silent",
    false,
  ],
  ["nobody renews the lease", (c) => c.put("alice.leader", { renewTimeMs: start - 60_000 }), "no-holder", false],
  [
    "the lease is free and a member is eligible",
    (c) => c.put("alice.leader", { holderIdentity: "" }),
    "no-holder",
    false,
  ],
  [
    "nobody is eligible",
    (c) => {
      c.put("alice.leader", { holderIdentity: "" });
      c.member(0, { eligible: false, ready: false });
      c.member(1, { eligible: false, ready: false });
    },
    "nobody-eligible",
    false,
  ],
  [
    "both heads are stale while one holds",
    (c) => {
      c.member(0, { eligible: false, ready: false, reason: "head is 300 s old" });
      c.member(1, { eligible: false, ready: false });
    },
    "chain-halt-or-stale",
    false,
  ],
  [
    "no signer answers the master",
    (c) => c.member(0, { signersAnswering: 0, eligible: false }),
    "master-without-signer",
    false,
  ],
  ["the master's daemons crash", (c) => c.member(0, { daemons: "crash-looping" }), "master-crash-looping", false],
  [
    "the master's daemons do not run",
    (c) => c.member(0, { daemons: "stopped", reason: "raising" }),
    "daemons-stopped",
    false,
  ],
  [
    "a stranger holds the lease",
    (c) => c.put("alice.leader", { holderIdentity: "mallory_x" }),
    "foreign-holder",
    false,
  ],
  [
    "a watermark is unreadable",
    (c) => (c.maps = [{ name: `wm-${"0".repeat(40)}`, data: { watermark: "{" } }]),
    "watermark-unreadable",
    false,
  ],
  ["a watermark is gone", (c) => (c.maps = []), "watermark-lost", false],
  [
    "a watermark was never written",
    (c) => (c.maps = [{ name: `wm-${"0".repeat(40)}`, data: {} }]),
    "watermark-empty",
    true,
  ],
  [
    "a watermark is ahead of the lease",
    (c) => (c.maps = [{ name: `wm-${"0".repeat(40)}`, data: { watermark: JSON.stringify(mark({ epoch: 9 })) } }]),
    "watermark-ahead",
    false,
  ],
  [
    "a watermark was not raised yet",
    (c) => (c.maps = [{ name: `wm-${"0".repeat(40)}`, data: { watermark: JSON.stringify(mark({ epoch: 6 })) } }]),
    "watermark-not-raised",
    true,
  ],
  ["nonces are on one member only", (c) => c.member(0, { noncesMissing: 2 }), "nonces-missing", true],
  ["the standby is behind", (c) => c.member(1, { headLevel: 95, daemons: "stopped" }), "behind", true],
  [
    "the standby has no signer",
    (c) => c.member(1, { eligible: false, signersAnswering: 0, daemons: "stopped" }),
    "no-standby",
    true,
  ],
  [
    "the watermark of a key is gone",
    (c) =>
      (c.maps = [
        {
          name: "alice",
          data: { "baker.json": JSON.stringify(bakerFile({ topology: "active-standby", members: 2 })) },
        },
      ]),
    "watermark-lost",
    false,
  ],
  [
    "the master's key is lost",
    (c) => c.member(0, { keys: [{ address: "tz1a", state: "lost", reason: "watermark-missing" }] }),
    "key-lost",
    false,
  ],
  [
    "the floor is above the head",
    (c) => (c.maps = [{ name: `wm-${"0".repeat(40)}`, data: { watermark: JSON.stringify(mark({ floor: 105 })) } }]),
    "floor-above-head",
    false,
  ],
  [
    "the floor of a key that is not active yet is above the head, while another key signs",
    (c) => c.maps.push({ name: `wm-${"1".repeat(40)}`, data: { watermark: JSON.stringify(mark({ floor: 105 })) } }),
    "floor-above-head",
    true,
  ],
  [
    "the chain stands still",
    (c) => c.member(0, { headTimestamp: new Date(start - 60_000).toISOString() }),
    "head-old",
    false,
  ],
  [
    "the master's node falls behind",
    (c) => c.member(1, { headLevel: 102, daemons: "stopped" }),
    "master-behind",
    false,
  ],
  [
    "the master's gate does not answer",
    (c) => c.member(0, { eligible: false, reason: "gate-silent" }),
    "master-not-eligible",
    false,
  ],
  [
    "the holder is another pod of the same name",
    (c) => c.put("alice.leader", { holderIdentity: "alice-as-0_old" }),
    "twin",
    true,
  ],
  [
    "a container complains",
    (c) => c.member(1, { daemons: "stopped", troubles: ["nonces: write failed"] }),
    "trouble",
    true,
  ],
  [
    "no signer shows one of the baker's keys",
    (c) => c.member(0, { keys: [{ address: "tz4a", state: "open", reason: "", signers: 0 }] }),
    "key-without-signer",
    true,
  ],
  [
    "the master's DAL node hangs",
    (c) => c.member(0, { troubles: ["DAL node: dal-silent: it has not answered for 12 s: no answer within 2000 ms"] }),
    "dal-node",
    true,
  ],
  [
    "too few slots of the DAL are attested",
    (c) => c.member(0, { dal: { ...wellDal, attestedSlots: 10, sufficient: false } }),
    "dal-slots-missed",
    true,
  ],
  [
    "a pod still imports its snapshot",
    (c) => {
      c.leases.clear();
      c.inits["alice-as-0"] = "import-snapshot";
    },
    "pod-starting",
    false,
  ],
  [
    "the holder's pod is gone",
    (c) => {
      c.podNames = ["alice-as-1"];
      c.maps.push({
        name: "alice",
        data: { "baker.json": JSON.stringify(bakerFile({ topology: "active-standby", members: 2 })) },
      });
    },
    "pod-missing",
    false,
  ],
  ["there is nothing at all", (c) => ((c.podNames = []), c.leases.clear(), (c.maps = [])), "no-baker", false],
  ["no elector ran yet", (c) => c.leases.clear(), "no-lease", false],
  [
    "a member's record is broken",
    (c) => c.put("alice.member-1", {}, { [annotations.member]: "{" }),
    "member-record-broken",
    false,
  ],
];
test.each(broken)("status names it where %s", async (_name, breakIt, code, signing) => {
  const cluster = new FakeCluster();
  breakIt(cluster);
  const view = await cluster.view();
  expect(codes(view)).toContain(code);
  expect(diagnose(view).signing).toBe(signing);
  const lines = renderStatus(view).split("\n");
  // Broken between words, and no line is wider than a terminal but commands that can be copied.
  expect(lines.join(" ").replace(/ +/g, " ")).toContain(diagnose(view).sentence);
  expect(lines.filter((line) => line.length > 80 && !line.includes("kubectl "))).toEqual([]);
});

const over: [string, (cluster: FakeCluster) => void, string | undefined][] = [
  [
    "a container ended and runs again",
    (c) => (c.ended = { how: "exit 137 (Error)", atMs: start - 60_000 }),
    "alice-as-0: container octez-node ended at 2027-01-15T07:59:00Z: exit 137 (Error), 0 restarts",
  ],
  ["a container ended long ago", (c) => (c.ended = { how: "exit 137 (Error)", atMs: start - 601_000 }), undefined],
  [
    "a daemon ended and was started again",
    (c) => c.member(0, { recent: ["2027-01-15T07:59:00Z baker ended by itself (SIGKILL)"] }),
    "alice-as-0: 2027-01-15T07:59:00Z baker ended by itself (SIGKILL)",
  ],
];
test.each(over)("a note tells what is over, and is no reason to doubt: %s", async (_name, happen, text) => {
  const cluster = new FakeCluster();
  happen(cluster);
  const view = await cluster.view();
  const { signing, sentence, findings } = diagnose(view);
  expect({ signing, sentence }).toEqual({ signing: true, sentence: "alice-as-0 signs (epoch 7)" });
  expect(findings.every((finding) => finding.severity === "note")).toBe(true);
  if (text === undefined) expect(findings).toEqual([]);
  else {
    expect(findings.map((finding) => finding.text)).toContain(text);
    expect(renderStatus(view).replace(/\n +/g, " ")).toContain(`note      ${text}`);
    expect((await doctor(cluster, cluster.view)).every((check) => check.state === "ok")).toBe(true);
  }
});

test("while the flag is being switched, the topology is that of the pods that stay", async () => {
  const cluster = new FakeCluster();
  for (const topology of ["active-standby", "solo"] as const)
    cluster.maps.push({
      name: topology,
      data: { "baker.json": JSON.stringify(bakerFile({ topology, members: topology === "solo" ? 1 : 2 })) },
    });
  expect((await cluster.view()).topology).toBe("active-standby");
  cluster.podNames = ["alice-solo-0"];
  const view = await cluster.view();
  expect(view.topology).toBe("solo");
  expect(diagnose(view)).toMatchObject({ signing: true, sentence: "alice-solo-0 bakes alone (no standby, no fence)" });
});

test("what the standby counted of the DAL is no word of its own: the master tells it", async () => {
  const cluster = new FakeCluster();
  cluster.member(1, { daemons: "stopped", state: "standby", dal: { ...wellDal, sufficient: false } });
  expect(codes(await cluster.view())).not.toContain("dal-slots-missed");
});

test("few slots of a cycle that has begun, and a DAL node that waits for its octez-node, are no findings", async () => {
  const cluster = new FakeCluster();
  const few = { ...wellDal, attestedSlots: 0, attestableSlots: 19, sufficient: false };
  const waits = ["DAL node: dal-silent: it has not answered: connect ECONNREFUSED"];
  cluster.member(0, { dal: few });
  cluster.member(1, { ready: false, eligible: false, daemons: "stopped", troubles: waits });
  const found = codes(await cluster.view());
  expect(found).toContain("node-not-ready");
  expect(found).not.toContain("dal-slots-missed");
  expect(found).not.toContain("dal-node");
  cluster.member(0, { dal: { ...few, attestableSlots: 20 } });
  expect(codes(await cluster.view())).toContain("dal-slots-missed");
});

test("status shows each pod's DAL node, and the slots that the delegate attested in this cycle", async () => {
  const cluster = new FakeCluster();
  const silent = { well: false, reason: "dal-silent: it has not answered for 12 s: no answer", peers: null };
  cluster.member(0, { dal: wellDal });
  cluster.member(1, { dal: { ...wellDal, ...silent, attestableSlots: null }, daemons: "stopped", state: "standby" });
  const row = async (name: string) =>
    renderStatus(await cluster.view())
      .split("\n")
      .find((line) => line.startsWith(name));
  expect(await row("DAL node")).toMatch(/^DAL node +well, 7 peers +dal-silent$/);
  expect(await row("DAL slots")).toMatch(/^DAL slots +40 of 41 attested +-$/);
  cluster.member(0, {});
  expect(await row("DAL node")).toMatch(/^DAL node +- +dal-silent$/);
});

test("a remedy can be copied: it names context, namespace, pod and container", async () => {
  const cluster = new FakeCluster();
  cluster.context = "gke_p_us-central1_my baker";
  cluster.member(0, { daemons: "crash-looping" });
  cluster.maps.push({ name: `wm-${"1".repeat(40)}`, data: { watermark: JSON.stringify(mark({ epoch: 6 })) } });
  const kubectl = "kubectl --context 'gke_p_us-central1_my baker' -n tezos";
  expect(diagnose(await cluster.view()).findings.map(({ remedy }) => remedy)).toEqual([
    `${kubectl} logs alice-as-0 -c baker`,
    `the gate raises it at the start of a tenure: ${kubectl} logs alice-as-0 -c signing-gate`,
  ]);
  for (const { remedy } of await doctor(cluster, cluster.view))
    if (remedy.includes("kubectl")) expect(remedy).toContain(kubectl);
});

test("the sentence says whether it is certain that nobody signs", async () => {
  const cluster = new FakeCluster();
  cluster.put("alice.leader", { renewTimeMs: start - 60_000 });
  expect(diagnose(await cluster.view()).sentence).toMatch(/^nobody signs: nobody holds the lease/);
  const silent = new FakeCluster();
  silent.put("alice.member-0", { renewTimeMs: start - 60_000 });
  expect(diagnose(await silent.view()).sentence).toMatch(/^perhaps nobody signs: alice-as-0 holds and has been silent/);
  const view = { ...(await cluster.view()), apiSilentSeconds: 9 };
  expect(diagnose(view).sentence).toBe("perhaps nobody signs: the Kubernetes API has not answered for 9 s");
});

test("a member whose clock is wrong is fresh, and the clock is named", async () => {
  const cluster = new FakeCluster();
  const renew = () => {
    for (const name of ["alice.leader", "alice.member-0"]) cluster.put(name, {});
    cluster.put("alice.member-1", { renewTimeMs: cluster.at + 3_600_000 });
  };
  renew();
  cluster.onSleep = renew;
  const { signing, findings } = diagnose(await cluster.view());
  expect(signing).toBe(true);
  expect(findings.map(({ code, text }) => [code, text])).toEqual([
    ["clock", "alice-as-1: its clock is at least 3600 s ahead of this machine's"],
  ]);
});

test.each([2000, 4000])("where the API needs %i ms for each answer, no clock is said to be wrong", async (apiMs) => {
  const cluster = new FakeCluster();
  // Every member writes again as soon as the API has taken its last renewal, with the time at which it asked.
  const askedAtMs = new Map([...cluster.leases.keys()].map((name) => [name, cluster.at]));
  const pass = (ms: number) => {
    cluster.at += ms;
    for (const [name, atMs] of askedAtMs)
      if (cluster.at - atMs >= apiMs + 2000) {
        cluster.put(name, { renewTimeMs: cluster.at - apiMs });
        askedAtMs.set(name, cluster.at);
      }
  };
  cluster.lease = (name) => {
    pass(apiMs / 2);
    const lease = cluster.leases.get(name);
    pass(apiMs / 2);
    return Promise.resolve(lease);
  };
  cluster.options.sleep = (ms) => Promise.resolve(pass(ms));
  const { signing, findings } = diagnose(await cluster.view());
  expect(findings.filter(({ code }) => code === "clock")).toEqual([]);
  expect(signing).toBe(true);
  // What no latency explains is still said.
  const renew = () => cluster.put("alice.member-1", { renewTimeMs: cluster.at - 600_000 });
  askedAtMs.delete("alice.member-1");
  cluster.options.sleep = (ms) => Promise.resolve(renew()).then(() => pass(ms));
  renew();
  const late = diagnose(await cluster.view()).findings.find(({ code }) => code === "clock");
  expect(Number(/clock is at least (\d+) s behind/.exec(late?.text ?? "")?.[1])).toBeGreaterThan(560);
  expect(Number(/clock is at least (\d+) s behind/.exec(late?.text ?? "")?.[1])).toBeLessThanOrEqual(600);
});

test("a renewal that looks old by this machine's clock counts where it is seen to change", async () => {
  const cluster = new FakeCluster();
  for (const name of [...cluster.leases.keys()]) cluster.put(name, { renewTimeMs: start - 120_000 });
  cluster.onSleep = () => {
    for (const name of [...cluster.leases.keys()]) cluster.put(name, { renewTimeMs: start - 118_000 });
  };
  expect(diagnose(await cluster.view()).signing).toBe(true);
});

test("the plan goes to the eligible member and lists what speaks against it", async () => {
  const cluster = new FakeCluster();
  expect(planSwitchover(await cluster.view())).toMatchObject({ from: "alice-as-0", to: "alice-as-1", objections: [] });
  cluster.member(1, {
    eligible: false,
    reason: "head is 300 s old",
    headLevel: 90,
    signersAnswering: 0,
    daemons: "stopped",
  });
  cluster.member(0, { noncesMissing: 1 });
  expect(planSwitchover(await cluster.view()).objections).toEqual([
    "alice-as-1 is not eligible: head is 300 s old",
    "no signer answers alice-as-1",
    "alice-as-1 is 10 levels behind",
    "1 nonce commitments are not on another member yet",
  ]);
});

test("a DAL node that is not well speaks against its pod where another one is well, and of two members the other is chosen", async () => {
  const cluster = new FakeCluster();
  const sick = { ...wellDal, well: false, reason: "dal-silent: it has not answered for 12 s: no answer" };
  cluster.member(1, { dal: sick });
  cluster.member(0, { dal: sick });
  expect(planSwitchover(await cluster.view()).objections).toEqual([]);
  cluster.member(0, { dal: wellDal });
  expect(planSwitchover(await cluster.view()).objections).toEqual([
    "the DAL node of alice-as-1 is not well: it would hand over again after a pause",
  ]);
  cluster.podNames.push("alice-as-2");
  cluster.member(2, { dal: wellDal, headLevel: 99 });
  expect(planSwitchover(await cluster.view())).toMatchObject({ to: "alice-as-2", objections: [] });
  cluster.member(2, { dal: wellDal, headLevel: 98 });
  expect(planSwitchover(await cluster.view())).toMatchObject({ to: "alice-as-1" });
});

test("the plan refuses a member that does not exist or already holds", async () => {
  const view = await new FakeCluster().view();
  expect(() => planSwitchover(view, "alice-as-0")).toThrow(
    '--to names a member that does not hold the lease (alice-as-1); got "alice-as-0"',
  );
});

test("the wish is written through conflicts, and the receipt comes back", async () => {
  const cluster = new FakeCluster();
  cluster.conflicts = 3;
  const receipt = {
    epoch: 8,
    from: "alice-as-0",
    to: "alice-as-1",
    cause: "planned-operator",
    at: "2026-11-23T00:00:00Z",
    timeline: [],
    missedLevels: 1,
  };
  cluster.onSleep = () => {
    if (cluster.leases.get("alice.leader")?.metadata.annotations[annotations.preferredHolder] === "alice-as-1") {
      cluster.put(
        "alice.leader",
        { holderIdentity: "alice-as-1_u1", leaseTransitions: 8 },
        { [annotations.preferredHolder]: "", [annotations.receipts]: JSON.stringify([receipt]) },
      );
      cluster.member(0, { daemons: "stopped" });
      cluster.member(1, { daemons: "running" });
    }
  };
  const plan = planSwitchover(await cluster.view());
  expect(
    await performSwitchover(cluster, plan, "alice", {
      ...cluster.options,
      timeoutSeconds: 60,
      progress: () => undefined,
    }),
  ).toEqual(receipt);
});

test("a wish that is not honoured in time is taken back", async () => {
  const cluster = new FakeCluster();
  cluster.onSleep = () => {
    for (const name of [...cluster.leases.keys()]) cluster.put(name, {});
  };
  const plan = planSwitchover(await cluster.view());
  await expect(
    performSwitchover(cluster, plan, "alice", { ...cluster.options, timeoutSeconds: 10, progress: () => undefined }),
  ).rejects.toThrow("alice-as-1 has not taken over within 10 s; the wish was taken back");
  expect(cluster.leases.get("alice.leader")?.metadata.annotations[annotations.preferredHolder]).toBe("");
});

test("a switchover that is interrupted takes its wish back, and so does --cancel", async () => {
  const cluster = new FakeCluster();
  const interrupted = new AbortController();
  const wished = () => cluster.leases.get("alice.leader")?.metadata.annotations[annotations.preferredHolder];
  cluster.onSleep = () => {
    expect(wished()).toBe("alice-as-1");
    interrupted.abort();
  };
  const plan = planSwitchover(await cluster.view());
  await expect(
    performSwitchover(cluster, plan, "alice", {
      ...cluster.options,
      timeoutSeconds: 60,
      interrupted: interrupted.signal,
      progress: () => undefined,
    }),
  ).rejects.toThrow("interrupted before alice-as-1 held; the wish was taken back");
  expect(wished()).toBe("");
  cluster.onSleep = () => undefined;
  expect(await cancelSwitchover(cluster, "alice", cluster.options)).toBe("");
  cluster.put("alice.leader", {}, { [annotations.preferredHolder]: "alice-as-1" });
  expect(await cancelSwitchover(cluster, "alice", cluster.options)).toBe("alice-as-1");
  expect(wished()).toBe("");
});

test("a pause is told with its end and its reason, hides no failure, and ends by itself", async () => {
  const cluster = new FakeCluster();
  // What counts is what the holder says, whatever was written and whatever the clock here says of it.
  const note = writePause({ untilMs: start - 1, reason: "new disk" });
  cluster.put("alice.leader", {}, { [annotations.handoverPause]: note });
  cluster.member(0, { pausedSeconds: 3600 });
  const view = await cluster.view();
  expect(codes(view)).toEqual(["handovers-paused"]);
  const shown = renderStatus(view).replace(/\s+/g, " ");
  expect(shown).toContain("are paused until 2027-01-15T09:00Z (60 min): new disk");
  expect(shown).toContain("npm run baker -- resume");
  cluster.member(1, { headLevel: 103 });
  const behind = diagnose(await cluster.view());
  expect(behind.sentence).toContain("alice-as-0 holds and is 3 levels behind");
  expect(behind.findings[0]?.remedy).toContain("npm run baker -- resume");
  const later = writePause({ untilMs: start + 3_600_000, reason: "new disk" });
  cluster.put("alice.leader", {}, { [annotations.handoverPause]: later });
  cluster.member(0, { pausedSeconds: 0 });
  cluster.member(1, { pausedSeconds: 3600 });
  expect(codes(await cluster.view())).not.toContain("handovers-paused");
});

test("a drill leaves the lease as it was and says what would fail", async () => {
  const cluster = new FakeCluster();
  const before = JSON.stringify(cluster.leases.get("alice.leader"));
  expect((await drill(cluster, await cluster.view(), { nowMs: () => 0 })).every((step) => step.ok)).toBe(true);
  expect(JSON.stringify(cluster.leases.get("alice.leader"))).toBe(before);
  cluster.member(1, { eligible: false, reason: "no peers", daemons: "stopped" });
  const steps = await drill(cluster, await cluster.view(), { nowMs: () => 0 });
  expect(steps.filter((step) => !step.ok).map((step) => step.name)).toEqual(["plan", "member alice-as-1"]);
});

test("the doctor goes hop by hop and skips what it cannot judge", async () => {
  const cluster = new FakeCluster();
  expect((await doctor(cluster, cluster.view)).every((check) => check.state === "ok")).toBe(true);
  cluster.reachable = false;
  const checks = await doctor(cluster, cluster.view);
  expect(checks[0]).toMatchObject({ name: "cluster", state: "failed" });
  expect(checks.slice(1).every((check) => check.state === "skipped")).toBe(true);
});

test("the doctor says to whom the signer link is open", async () => {
  const cluster = new FakeCluster();
  const door = async (ranges: string[] | undefined) => {
    cluster.sourceRanges = () => Promise.resolve(ranges);
    return (await doctor(cluster, cluster.view)).find(({ name }) => name === "signer link");
  };
  expect(await door(undefined)).toBeUndefined();
  expect(await door(["203.0.113.7/32"])).toMatchObject({ state: "ok", text: "203.0.113.7/32 can reach the sshd" });
  for (const everybody of [[], ["0.0.0.0/0"]])
    expect(await door(everybody)).toMatchObject({
      state: "warning",
      text: expect.stringMatching(/^everybody/) as string,
    });
  cluster.sourceRanges = () => Promise.reject(new ClusterError("forbidden", "services: not allowed"));
  expect((await doctor(cluster, cluster.view)).find(({ name }) => name === "signer link")?.state).toBe("skipped");
});

test("tables keep their columns", () => {
  expect(table(["A", "BB"], [["long", "x"], ["y"]])).toBe("A     BB\nlong  x\ny");
});

test("of a silent member nothing is claimed: its record is old", async () => {
  const view = await new FakeCluster().view();
  const [first, second] = view.members;
  if (!first || !second) throw new Error("two members");
  const old = { ...second, fresh: false, ageSeconds: 70 };
  const text = renderStatus({ ...view, members: [first, old] });
  const column = (name: string) =>
    text
      .split("\n")
      .find((line) => line.startsWith(`${name}  `))
      ?.split(/ {2,}/)[2];
  expect(column("last seen")).toBe("70 s ago");
  expect(column("reason")).toBe("silent: nothing is known of it");
  for (const name of ["node ready", "eligible", "head", "levels behind", "baking daemons", "signers answer"])
    expect(column(name)).toBe("?");
});

test("escape sequences and line ends in what the cluster says never reach the terminal", async () => {
  const evil = "x\u001b[2J\u009b31m\u202e\r\nalice: alice-as-1 signs";
  const receipt = {
    epoch: 8,
    from: evil,
    to: evil,
    cause: evil,
    at: evil,
    timeline: [{ atMs: 0, event: evil, reason: evil }],
    missedLevels: null,
  };
  const cluster = new FakeCluster();
  cluster.member(0, { reason: evil, zone: evil, troubles: [evil], recent: [evil] });
  cluster.member(1, { reason: evil, eligible: false, troubles: [evil], recent: [evil] });
  const view = { ...(await cluster.view()), preferredHolder: evil, receipts: [receipt] };
  for (const text of [renderStatus(view), renderReceipt(receipt), table([""], [[evil]])]) {
    expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
    expect(text).not.toContain("\nalice: alice-as-1 signs");
    expect(text).toContain("\\u001b[2J");
  }
});

test("only the present tenure's missed levels are still to be counted", async () => {
  const receipt = (epoch: number, cause: string) => ({
    ...{ epoch, from: "alice-as-0", to: "alice-as-1", cause, at: "2026-11-23T00:00:00Z", timeline: [] },
    missedLevels: null,
  });
  const { members } = await new FakeCluster().view();
  const text = renderHistory({ members, receipts: [receipt(8, "expired"), receipt(7, "expired")] });
  expect(text.replace(/\s+/g, " ").match(/missed levels not (counted yet|known)/g)).toEqual([
    "missed levels not counted yet",
    "missed levels not known",
  ]);
  expect(renderHistory({ members, receipts: [receipt(1, "first")] }).replace(/\s+/g, " ")).toContain(
    "levels not known",
  );
});

test("history says of each missed slot whose it was, by the member that knows", async () => {
  const cluster = new FakeCluster();
  expect(renderHistory(await cluster.view())).toBe("no transition yet");
  const at = "2026-11-23T00:00:09Z";
  const slot = (kind: "attestation" | "block", level: number, whose: "ours" | "producer" | "unknown", why: string) => ({
    ...{ kind, level, whose, why, at },
  });
  cluster.member(0, {
    missedSlots: [
      slot("attestation", 98, "producer", "it was signed 4.2 s before the next round began"),
      slot("attestation", 99, "unknown", "this pod was not master all the time"),
    ],
  });
  cluster.member(1, {
    missedSlots: [
      slot("attestation", 98, "unknown", "this pod was not master all the time"),
      slot("attestation", 99, "ours", "it was not signed: no-signer"),
      slot("block", 99, "unknown", "the signing gate has started anew meanwhile"),
    ],
  });
  const view = await cluster.view();
  expect(missedSlotsOf(view).map(({ kind, level, whose, pod }) => [kind, level, whose, pod])).toEqual([
    ["attestation", 99, "ours", "alice-as-1"],
    ["block", 99, "unknown", "alice-as-1"],
    ["attestation", 98, "producer", "alice-as-0"],
  ]);
  expect(renderHistory(view)).toBe(
    [
      "no transition yet",
      "",
      "the last missed slots, as the members saw them since they started",
      `  ${at}  level 99  attestation, ours: it was not signed:`,
      "                                  no-signer",
      `  ${at}  level 99  block, not known whose: the signing gate has`,
      "                                  started anew meanwhile",
      `  ${at}  level 98  attestation, the block producer's: it was`,
      "                                  signed 4.2 s before the next round began",
    ].join("\n"),
  );
});

test("a report has what is known of the baker, and no secret, whatever was logged", async () => {
  const cluster = new FakeCluster();
  const token = `eyJ${"a".repeat(20)}.${"b".repeat(20)}.${"c".repeat(20)}`;
  const secret = "edsk3gUfUPyBSfrS9CCgmCiQsTCHGkviBDusMxDJstFtojtc1zcpsh";
  cluster.logText = `key ${secret}\nAuthorization: Bearer abcdefgh12345678 ${token}\nhttp://me:pass@host from 10.1.2.3\n`;
  const files = await reportFiles(cluster, "alice", cluster.options);
  const text = (name: string) => files.find((file) => file.name === name)?.text ?? "";
  expect(text("status.txt")).toContain("alice: alice-as-0 signs (epoch 7)");
  expect(text("versions.json")).toContain("v1.36.3");
  expect(text("logs/alice-as-0/octez-node.log")).toBe(
    "alice-as-0 octez-node: key (secret, not shown)\nAuthorization: Bearer (not shown) (token, not shown)\nhttp://(not shown)@host from x.x.x.3\n",
  );
  // What cannot be had is said in its place.
  cluster.logs = () => Promise.reject(new ClusterError("forbidden", "not allowed"));
  const less = await reportFiles(cluster, "alice", cluster.options);
  expect(less.find(({ name }) => name.startsWith("logs/"))?.text).toBe("not available: not allowed\n");
});

test("the archive of a report is one that tar reads", () => {
  const folder = mkdtempSync(join(tmpdir(), "tog-report-"));
  const path = join(folder, "report.tar.gz");
  const files = [
    { name: "logs/alice-as-0/baker.log", text: "é\n".repeat(700) },
    { name: "empty", text: "" },
    { name: "last", text: "z" },
  ];
  writeFileSync(path, archive(files, 0));
  try {
    const run = (...words: string[]) => spawnSync("tar", [...words, "-f", path], { cwd: folder, encoding: "utf8" });
    expect(run("-tz").stdout.trim().split("\n")).toEqual(files.map(({ name }) => name));
    expect(run("-xz")).toMatchObject({ status: 0, stderr: "" });
    for (const { name, text } of files) expect(readFileSync(join(folder, name), "utf8")).toBe(text);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
