/** The command itself, as a process, with a kubeconfig, against the embedded API. */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readPause } from "../../contract/handover-pause";
import { annotations } from "../../contract/names";
import { microTime } from "../../daemons/runtime/kube";
import { cockpit } from "../../cockpit/main";
import { KubeApi } from "../../lab/kube-api/kube-api";
import { commandPath } from "../helpers/bundle";

const folder = mkdtempSync(join(tmpdir(), "tog-cli-"));
const api = new KubeApi();
const kubeconfig = join(folder, "config");

const member = (ordinal: number, daemons: string, pausedSeconds = 0) =>
  JSON.stringify({
    identity: `alice-as-${ordinal}_u`,
    address: "127.0.0.1",
    zone: "z",
    ready: true,
    eligible: true,
    reason: "eligible",
    headLevel: 100,
    headTimestamp: null,
    noncesMissing: 0,
    daemons,
    signersAnswering: 1,
    state: "active",
    pausedSeconds,
  });
const lease = (name: string, spec: Record<string, unknown>, notes: Record<string, string> = {}) =>
  api.apply("leases", "tezos", {
    apiVersion: "coordination.k8s.io/v1",
    kind: "Lease",
    metadata: { name, namespace: "tezos", annotations: notes },
    spec: { leaseDurationSeconds: 6, renewTime: microTime(Date.now()), ...spec },
  });

async function baker(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const command = await commandPath("baker");
  const config = args.includes("--kubeconfig") ? [] : ["--kubeconfig", kubeconfig];
  return new Promise((done) => {
    const child = spawn(process.execPath, [command, ...args, ...config]);
    let [stdout, stderr] = ["", ""];
    child.stdout.on("data", (data: Buffer) => (stdout += data.toString()));
    child.stderr.on("data", (data: Buffer) => (stderr += data.toString()));
    child.on("exit", (code) => done({ code, stdout, stderr }));
  });
}

beforeAll(async () => {
  await api.start();
  api.addAdmin("secret-token");
  writeFileSync(kubeconfig, api.kubeconfig("secret-token", "tezos"));
  for (const ordinal of [0, 1]) {
    api.apply("pods", "tezos", {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: `alice-as-${ordinal}`, namespace: "tezos", labels: { baker: "alice" } },
      spec: {},
      status: { phase: "Running" },
    });
  }
  api.apply("configmaps", "tezos", {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: `wm-${"0".repeat(40)}`, namespace: "tezos", labels: { baker: "alice" } },
    data: {},
  });
});
afterAll(async () => {
  clearInterval(renewing);
  await api.dispose();
  rmSync(folder, { recursive: true, force: true });
});
// Electors renew; so that a slow start of the command proves nothing about the cluster.
const renewing = setInterval(() => {
  for (const { metadata, spec } of api.list("leases", "tezos"))
    lease(metadata.name, { ...(spec as object), renewTime: microTime(Date.now()) }, metadata.annotations);
}, 500);
const healthy = () => {
  lease("alice.leader", { holderIdentity: "alice-as-0_u", leaseTransitions: 4 });
  lease("alice.member-0", {}, { [annotations.member]: member(0, "running") });
  lease("alice.member-1", {}, { [annotations.member]: member(1, "stopped") });
};

test("status finds the only baker of the namespace and says who signs", async () => {
  healthy();
  const { code, stdout, stderr } = await baker("status");
  expect(stderr).toBe("");
  expect(stdout).toContain("alice: alice-as-0 signs (epoch 4)");
  expect(code).toBe(0);
});

test("a switchover is a dry run without --yes, and writes the wish with it", async () => {
  healthy();
  expect((await baker("switchover")).stdout).toContain("Nothing was changed. Add --yes to do it.");
  expect(
    api.read("leases", "tezos", "alice.leader")?.metadata.annotations?.[annotations.preferredHolder],
  ).toBeUndefined();
  healthy();
  const running = baker("switchover", "--yes", "--timeout", "30");
  const honour = setInterval(() => {
    if (
      api.read("leases", "tezos", "alice.leader")?.metadata.annotations?.[annotations.preferredHolder] !== "alice-as-1"
    )
      return;
    clearInterval(honour);
    const receipt = {
      epoch: 5,
      from: "alice-as-0",
      to: "alice-as-1",
      cause: "planned-operator",
      at: "2026-11-23T00:00:00Z",
      timeline: [{ atMs: 12, event: "released", reason: "drained" }],
      missedLevels: 0,
    };
    lease(
      "alice.leader",
      { holderIdentity: "alice-as-1_u", leaseTransitions: 5 },
      { [annotations.receipts]: JSON.stringify([receipt]) },
    );
    lease("alice.member-0", {}, { [annotations.member]: member(0, "stopped") });
    lease("alice.member-1", {}, { [annotations.member]: member(1, "running") });
  }, 50);
  const { code, stdout } = await running;
  clearInterval(honour);
  expect(stdout).toContain("alice-as-0 -> alice-as-1  0 missed levels\n  planned-operator: an operator asked for it");
  expect(code).toBe(0);
});

test("a pause is written with its end and its reason, and taken back by resume", async () => {
  healthy();
  const note = () => api.read("leases", "tezos", "alice.leader")?.metadata.annotations?.[annotations.handoverPause];
  const before = Date.now();
  const paused = await baker("pause", "--for", "90m", "--reason", "new disk in zone b");
  expect(paused.stdout).toContain("(90 min): new disk in zone b");
  expect(paused.code).toBe(0);
  const written = readPause(note());
  expect(written?.reason).toBe("new disk in zone b");
  expect(written?.untilMs).toBeGreaterThanOrEqual(before + 90 * 60_000);
  lease("alice.member-0", {}, { [annotations.member]: member(0, "running", 5400) });
  expect((await baker("status")).stdout).toContain("new disk in zone b");
  expect((await baker("resume")).stdout).toBe("automatic handovers go on\n");
  expect(note()).toBe("");
  expect((await baker("resume")).stdout).toContain("nothing was paused");
});

test.each(["25h", "0h", "2", "1d", "-1h", ""])("a pause of %p is refused with the rule", async (text) => {
  let err = "";
  const connect = () => {
    throw new Error("options are read before the cluster is asked");
  };
  const io = { connect, out: () => undefined, err: (said: string) => void (err += said), terminal: false };
  expect(await cockpit(["pause", `--for=${text}`], io)).toBe(2);
  expect(err).toContain("at most 24h");
});

test("no cluster is exit code 3, bad usage 2, and the token is never printed", async () => {
  const [unknown, usage] = await Promise.all([
    baker("status", "--context", "prod"),
    baker("switchover", "--timeout", "soon"),
  ]);
  expect(unknown).toMatchObject({ code: 3 });
  expect(unknown.stderr).toContain('--context names a context of the kubeconfig (laboratory); got "prod"');
  expect(usage.code).toBe(2);
  expect(`${unknown.stdout}${unknown.stderr}${usage.stdout}${usage.stderr}`).not.toContain("secret-token");
});

test("every command and group of commands explains itself", async () => {
  const groups = [
    [],
    ["status"],
    ["report"],
    ["test-alert"],
    ["import"],
    ["switchover"],
    ["pause"],
    ["resume"],
    ["drill"],
    ["history"],
    ["rewards"],
    ["doctor"],
    ["watermark"],
    ["nonces"],
  ];
  const commands = [
    ...groups,
    ["watermark", "show"],
    ["watermark", "raise"],
    ["nonces", "export"],
    ["nonces", "import"],
  ];
  for (const words of commands) {
    let out = "";
    const connect = () => {
      throw new Error("help needs no cluster");
    };
    const io = { connect, out: (text: string) => void (out += text), err: () => undefined, terminal: false };
    expect({ words, code: await cockpit([...words, "--help"], io) }).toEqual({ words, code: 0 });
    expect(out).toContain("Usage: baker");
  }
});

test("a watch has a clock, so that a screen that stands still is seen to", async () => {
  healthy();
  const command = await commandPath("baker");
  const child = spawn(process.execPath, [command, "status", "--watch", "0.1", "--kubeconfig", kubeconfig]);
  const [first] = (await once(child.stdout, "data")) as [Buffer];
  child.kill();
  expect(first.toString()).toMatch(/^\d\d:\d\d:\d\d UTC\nalice: /);
});

test("whoever reads a watch and has seen enough ends it without a word", async () => {
  const command = await commandPath("baker");
  const child = spawn(process.execPath, [command, "status", "--watch", "0.1", "--json", "--kubeconfig", kubeconfig]);
  let stderr = "";
  child.stderr.on("data", (data: Buffer) => (stderr += data.toString()));
  const exit = new Promise<[number | null, string | null]>((done) =>
    child.once("exit", (code, signal) => done([code, signal])),
  );
  await new Promise((done) => child.stdout.once("data", done));
  child.stdout.destroy();
  expect(await exit).toEqual([0, null]);
  expect(stderr).toBe("");
});

test("Ctrl-C takes the wish of a switchover back", async () => {
  healthy();
  const child = spawn(process.execPath, [
    await commandPath("baker"),
    ...["switchover", "--yes", "--timeout", "60", "--kubeconfig", kubeconfig],
  ]);
  let said = "";
  const ended = new Promise<number | null>((done) => child.on("exit", done));
  child.stderr.on("data", (data: Buffer) => {
    if (!said.includes("asked for") && data.includes("asked for")) child.kill("SIGINT");
    said += data.toString();
  });
  expect(await ended).toBe(1);
  expect(said).toContain("interrupted before alice-as-1 held; the wish was taken back");
  expect(api.read("leases", "tezos", "alice.leader")?.metadata.annotations?.[annotations.preferredHolder]).toBe("");
});

test("a baker that is not there lists those that are", async () => {
  healthy();
  const { code, stderr } = await baker("status", "--baker", "alcie");
  expect(stderr).toBe('--baker names one of alice; got "alcie"\n');
  expect(code).toBe(2);
  for (const words of [
    ["nonces", "export"],
    ["watermark", "show"],
  ])
    expect(await baker(...words, "--baker", "alcie")).toMatchObject({ code: 2, stderr });
});

test("an API that does not answer is named, with what it means for the baker", async () => {
  const away = join(folder, "away");
  writeFileSync(away, api.kubeconfig("secret-token", "tezos").replace(/:\d{4,5}\b/g, ":9"));
  const { code, stderr } = await baker("status", "--kubeconfig", away);
  const said = stderr.replace(/\s+/g, " ");
  expect({ code, said }).toEqual({
    code: 3,
    said: expect.stringMatching(/^context \S+, server \S+:9: no answer/) as string,
  });
  expect(said).toContain("If only this machine is cut off, the baker signs on.");
  expect(said).toContain("nothing is signed twice.");
});

test.each([
  [["watermark", "--context", "laboratory"], "watermark: choose show or raise"],
  [["watermark"], "watermark: choose show or raise"],
  [["watermark", "rise"], 'watermark: choose show or raise; got "rise"; did you mean raise?'],
  [["nonces", "exprot"], "did you mean export?"],
  [["stauts"], "Did you mean status?"],
])("%p is told what to choose, and not under a page of help", async (words, expected) => {
  let err = "";
  const connect = () => {
    throw new Error("words are read before the cluster is asked");
  };
  const io = { connect, out: () => undefined, err: (text: string) => void (err += text), terminal: false };
  expect(await cockpit(words, io)).toBe(2);
  expect(err).toContain(expected);
  expect(err.trim().split("\n").length).toBeLessThan(4);
});
