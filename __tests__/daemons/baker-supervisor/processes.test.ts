/** The supervisor as a real process with real children: who dies when, and what is asked before anything starts. */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import * as http from "node:http";
import { join } from "node:path";
import type { Leadership } from "../../../contract/leadership";
import { watermarkName } from "../../../contract/names";
import { ports } from "../../../contract/ports";
import type { SupervisorStatus } from "../../../contract/status";
import { Cluster, electionKey, type ElectionSubject, type Pod } from "../../helpers/election";
import { embeddedSubject } from "../../helpers/election-subject";

const k = 3;
const next = "tz4T5ke56J3aKoFW6dTdLuuQtQF1vN65CUoh";
const nextKey = { address: next, alias: "consensus-2", watermark: watermarkName(next), signers: ["home"] };
let subject: ElectionSubject;
beforeAll(async () => {
  subject = await embeddedSubject();
});
afterAll(() => subject.stop());

/** An elector that says what the test wants. */
class Word {
  private readonly streams = new Set<http.ServerResponse>();
  private server: http.Server | undefined;
  private keeping: NodeJS.Timeout | undefined;
  record: Leadership | undefined;

  constructor(private readonly pod: Pod) {}
  async start(): Promise<void> {
    this.server = http.createServer((request, response) => {
      response.writeHead(200);
      if (request.url === "/leadership") return void response.end(JSON.stringify(this.record ?? null));
      response.flushHeaders();
      if (this.record) response.write(JSON.stringify(this.record) + "\n");
      this.streams.add(response);
      response.on("close", () => this.streams.delete(response));
    });
    await new Promise<void>((resolve) => this.server?.listen(ports.elector, this.pod.address, resolve));
  }
  say(fields: Partial<Leadership>): void {
    clearInterval(this.keeping);
    this.tell(fields);
  }
  private tell(fields: Partial<Leadership>): void {
    this.record = {
      holder: this.pod.name,
      holderIdentity: this.pod.identity,
      self: this.pod.identity,
      leaseUid: "u",
      epoch: 1,
      state: "active",
      reason: "test",
      validUntilNs: (process.hrtime.bigint() + 1_900_000_000n).toString(),
      gate: "open",
      daemons: "run",
      nonces: "follow",
      ...fields,
    };
    for (const stream of this.streams) stream.write(JSON.stringify(this.record) + "\n");
  }
  /** Says it until something else is said, so that its validity does not end while a slow machine starts a baker. */
  keep(fields: Partial<Leadership> = {}): void {
    const say = () => this.tell(fields);
    this.say(fields);
    this.keeping = setInterval(say, 300);
  }
  async stop(): Promise<void> {
    clearInterval(this.keeping);
    await new Promise<void>((resolve) => {
      this.server?.close(() => resolve());
      this.server?.closeAllConnections();
    });
  }
}

/** A pod whose supervisor listens to a Word. */
async function withPod(
  body: (context: { cluster: Cluster; pod: Pod; word: Word }) => Promise<void>,
  prepare?: (cluster: Cluster) => void,
) {
  const cluster = new Cluster(subject, k);
  let word: Word | undefined;
  try {
    prepare?.(cluster);
    await cluster.start(0);
    const pod = await cluster.add(0, []);
    word = new Word(pod);
    await word.start();
    await body({ cluster, pod, word });
  } catch (error) {
    process.stdout.write(cluster.story() + "\n");
    throw error;
  } finally {
    await word?.stop();
    expect(await cluster.stop()).toEqual([]);
  }
}
const statusOf = (pod: Pod) => pod.get(ports.supervisor, "/status") as Promise<SupervisorStatus | null>;
const beating = (cluster: Cluster) =>
  cluster.until("a baker beats", () => cluster.nowMs() - (cluster.beats().at(-1)?.atMs ?? 0) < 40);
/** A beat that comes well after this call. */
const beatsOn = (cluster: Cluster, fromMs = cluster.nowMs()) =>
  cluster.until("the baker beats on", () => (cluster.beats().at(-1)?.atMs ?? 0) > fromMs + 200);
const event = (cluster: Cluster, name: string) => cluster.log.find((e) => e.event === name);

test("the baker runs while leadership is valid, survives a dropped stream, is killed at the deadline, and stops in order at a handover", () =>
  withPod(async ({ cluster, pod, word }) => {
    pod.run("baker-supervisor");
    await cluster.until("it answers", async () => (await statusOf(pod))?.obeys === "stop");
    word.keep();
    await beating(cluster);
    expect(await statusOf(pod)).toMatchObject({ running: true, obeys: "run", crashLooping: false });
    // Nobody says anything any more.
    await word.stop();
    const until = Number(BigInt(word.record?.validUntilNs ?? "0") / 1000n) / 1000;
    const killed = await cluster.until("the kill", () => event(cluster, "daemon-killed"));
    expect(killed).toMatchObject({ reason: "validity-expired" });
    await cluster.until("the baker is gone", () => pod.bakers().length === 0);
    // The log's clock is the wall's, in whole milliseconds. How late a kill can be is measured by the bench.
    const killedMs = killed.atMs - (Date.now() - cluster.nowMs());
    expect(killedMs).toBeGreaterThan(until - 200);
    expect(cluster.beats().at(-1)?.atMs).toBeLessThan(killedMs + 5);

    await word.start();
    word.keep({ epoch: 2 });
    await beatsOn(cluster);
    word.say({ epoch: 2, state: "handing-over", daemons: "stop", gate: "shut" });
    await cluster.until("nothing runs", async () => {
      const status = await statusOf(pod);
      return status && !status.running && status.obeys === "stop";
    });
    const stops = () => cluster.log.filter((e) => e.event === "daemon-stopped");
    await cluster.until("it says how both ended", () => stops().length === 2);
    expect(stops()[1]).toMatchObject({ reason: "planned", exit: "127" });
  }));

test("a baker that ignores SIGTERM is killed after the grace, and its whole group with it", () =>
  withPod(
    async ({ cluster, pod, word }) => {
      pod.run("baker-supervisor");
      word.keep();
      const pids = await cluster.until("both run", () => {
        const text = existsSync(cluster.beatFile) ? readFileSync(cluster.beatFile, "utf8").trim().split("\n") : [];
        return text.length >= 2 && text.map(Number);
      });
      word.say({ state: "handing-over", daemons: "stop" });
      await cluster.until("nothing runs", async () => (await statusOf(pod))?.running === false);
      const runs = (pid: number) =>
        existsSync(`/proc/${pid}/cmdline`) && readFileSync(`/proc/${pid}/cmdline`, "utf8") !== "";
      await cluster.until("the whole group is gone", () => !pids.some(runs));
      await cluster.until("it says why", () =>
        cluster.log.some((e) => e.event === "daemon-stopping" && e.reason === "grace-over"),
      );
    },
    (cluster) => {
      const script = `trap '' TERM; echo $$ >> ${cluster.beatFile}; (echo $BASHPID >> ${cluster.beatFile}; while :; do sleep 0.1; done) & while :; do sleep 0.1; done`;
      cluster.changes = { daemons: [{ name: "stubborn", command: ["bash", "-c", script] }] };
    },
  ));

test.each([
  ["setpriv", process.env.PATH],
  ["the built-in launcher, where there is no setpriv", "/nonexistent"],
])("kill -9 of the supervisor takes the baker with it: %s", (_title, path) =>
  withPod(async ({ cluster, pod, word }) => {
    const supervisor = pod.run("baker-supervisor", path);
    word.keep();
    await beating(cluster);
    expect(pod.bakers()).toHaveLength(1);
    supervisor.kill("SIGKILL");
    await pod.exited();
    await cluster.until("the baker is gone", () => pod.bakers().length === 0);
  }),
);

test("a crashing daemon restarts with growing pauses and is reported as crash-looping; a changed configuration replaces it", () =>
  withPod(
    async ({ cluster, pod, word }) => {
      // As a ConfigMap volume: the file is a link into a folder that is exchanged.
      const config = join(pod.folder, "config");
      const publish = (name: string, content = JSON.stringify(cluster.file())) => {
        mkdirSync(join(config, name));
        writeFileSync(join(config, name, "baker.json"), content);
        symlinkSync(name, join(config, "..tmp"));
        renameSync(join(config, "..tmp"), join(config, "..data"));
      };
      publish("..1");
      symlinkSync("..data/baker.json", join(config, "link"));
      renameSync(join(config, "link"), join(config, "baker.json"));
      pod.run("baker-supervisor");
      word.keep();
      const looping = /^crash-looping: octez-baker \(3\)/;
      await cluster.until("it is crash-looping", async () => looping.test((await statusOf(pod))?.reason ?? ""));
      expect((await statusOf(pod))?.crashLooping).toBe(true);
      cluster.changes = {};
      publish("..2");
      await beating(cluster);
      expect(await statusOf(pod)).toMatchObject({ crashLooping: false, running: true });
      const [baker] = pod.bakers();
      publish("..3", "{");
      await cluster.until("a complaint", () => event(cluster, "configuration-rejected"));
      await beatsOn(cluster);
      expect(pod.bakers()).toContain(baker);
      // Of other keys this pod has neither names nor files: whatever else the file says comes with the next pod.
      cluster.changes = {
        keys: [...cluster.file().keys, nextKey],
        daemons: [{ name: "octez-baker", command: ["bash", "-c", "exit 3"] }],
      };
      publish("..4");
      await cluster.until("it keeps its daemons", () => event(cluster, "daemons-kept"));
      await beatsOn(cluster);
      expect(pod.bakers()).toContain(baker);
    },
    (cluster) => {
      cluster.changes = { daemons: [{ name: "octez-baker", command: ["bash", "-c", "exit 3"] }] };
    },
  ));

test("a broken high watermark file is moved aside before the start, with an alert", () =>
  withPod(async ({ cluster, pod, word }) => {
    writeFileSync(join(pod.folder, "client", "NetXsqzbfFen_highwatermarks"), '{"blocks":[');
    pod.run("baker-supervisor");
    word.keep();
    await beating(cluster);
    expect(await cluster.until("an alert", () => event(cluster, "quarantined"))).toMatchObject({
      level: "error",
      file: "NetXsqzbfFen_highwatermarks",
    });
    expect(readdirSync(join(pod.folder, "client"))).toEqual(["quarantine"]);
  }));

describe("a key that no signer has shown", () => {
  /** A baker that writes down the names that it was given. */
  const named = (cluster: Cluster) => {
    const script = `echo "$*" >>${cluster.beatFile}; trap 'exit 127' TERM; while :; do sleep 0.05; done`;
    const words = ["run", "baker", "consensus-2", "--operator-of", "consensus-2"];
    cluster.changes = {
      keys: [...cluster.file().keys, nextKey],
      daemons: [{ name: "octez-baker", command: ["bash", "-c", script, "octez-baker", ...words] }],
    };
  };
  const starts = (cluster: Cluster) =>
    existsSync(cluster.beatFile) ? readFileSync(cluster.beatFile, "utf8").trim().split("\n").filter(Boolean) : [];
  const all = "run baker consensus-2 --operator-of consensus-2";
  const present = "run baker --operator-of consensus-2";

  test("is left out at a start, loudly; octez-baker starts anew with it once it is shown", () =>
    withPod(async ({ cluster, pod, word }) => {
      pod.facts.absentKeys = [next];
      pod.run("baker-supervisor");
      word.keep();
      await cluster.until("a start", () => starts(cluster).length === 1);
      expect(starts(cluster)).toEqual([present]);
      expect(event(cluster, "keys-left-out")).toMatchObject({ level: "error", addresses: next });
      await cluster.until("its status", async () => (await statusOf(pod))?.keysLeftOut?.join() === next);
      pod.facts.absentKeys = [];
      await cluster.until("another start", () => starts(cluster).length === 2);
      expect(starts(cluster)[1]).toBe(all);
      expect((await statusOf(pod))?.keysLeftOut).toBeUndefined();
    }, named));
  test.each([
    ["is not left out where the client folder knows its public key", [next], all],
    ["is not left out where no other one is left", [next, electionKey], all],
  ])("%s", (title, absent, expected) =>
    withPod(async ({ cluster, pod, word }) => {
      pod.facts.absentKeys = absent;
      const value = { locator: `remote:${next}`, key: "BLpk" };
      if (title.includes("folder"))
        writeFileSync(join(pod.folder, "client/public_keys"), JSON.stringify([{ name: "consensus-2", value }]));
      pod.run("baker-supervisor");
      word.keep();
      await cluster.until("a start", () => starts(cluster).length === 1);
      expect(starts(cluster)).toEqual([expected]);
    }, named),
  );
});

test("SIGTERM waits for the handover, says that nothing runs, and ends when the lease is released", () =>
  withPod(async ({ cluster, pod, word }) => {
    const supervisor = pod.run("baker-supervisor");
    word.keep();
    await beating(cluster);
    supervisor.kill("SIGTERM");
    await beatsOn(cluster);
    word.say({ state: "handing-over", daemons: "stop" });
    await cluster.until("nothing runs", async () => (await statusOf(pod))?.running === false);
    expect((await statusOf(pod))?.obeys).toBe("stop");
    word.say({ state: "standby", holder: "", holderIdentity: "", daemons: "stop", validUntilNs: "0" });
    await pod.exited();
    expect(supervisor.exitCode).toBe(0);
  }));

async function recorded(cluster: Cluster): Promise<unknown> {
  const found = await subject.admin("GET", `${cluster.watermarkPath}/${cluster.file().keys[0]?.watermark}`);
  return JSON.parse((found as { data: { watermark: string } }).data.watermark);
}
test("solo starts only above the recorded marks, and says in the watermark that it signs without the gate", async () => {
  const cluster = new Cluster(subject, 6);
  try {
    cluster.changes = { topology: "solo", members: 1, otherMembers: 2 };
    await cluster.start(0);
    const mark = { level: cluster.headLevel() + 1, round: 0, digest: "0".repeat(64) };
    const record = {
      version: 1,
      baker: cluster.baker,
      chain: "NetXsqzbfFenSTS",
      epoch: 4,
      holder: "x",
      floor: 3,
      marks: { block: null, preattestation: null, attestation: mark },
      unfenced: false,
    };
    await cluster.setWatermark(record);
    const pod = await cluster.add(0, []);
    // Its node is behind until the supervisor, however slow its start, has been seen waiting.
    pod.facts.headOffset = -100;
    pod.run("baker-supervisor");
    await cluster.until("it waits", () =>
      cluster.log.some((e) => e.event === "solo-start" && e.reason === "head-not-above-marks"),
    );
    expect(cluster.beats()).toEqual([]);
    pod.facts.headOffset = 0;
    await beating(cluster);
    expect(cluster.headLevel()).toBeGreaterThan(mark.level);
    expect(await recorded(cluster)).toEqual({ ...record, unfenced: true });
    const last = { delegate: "tz1", highwatermark: { level: mark.level + 7, round: 0 } };
    const own = { blocks: [last], preattestations: [], attestations: [] };
    writeFileSync(join(pod.folder, "client", "NetXsqzbfFenS_highwatermarks"), JSON.stringify(own));
    pod.supervisor?.kill("SIGTERM");
    await pod.exited();
    expect(pod.supervisor?.exitCode).toBe(0);
    // What it has signed by itself: a gate may start above that.
    expect(await recorded(cluster)).toEqual({
      ...record,
      ...{ holder: expect.stringMatching(/-0_/) as string, floor: mark.level + 7, unfenced: false },
    });
  } finally {
    expect(await cluster.stop()).toEqual([]);
    await cluster.setWatermark();
  }
});

test("solo with broken high watermarks waits until the head has passed what can have been signed, and then sets them aside", async () => {
  const cluster = new Cluster(subject, 6);
  try {
    cluster.changes = { topology: "solo", members: 1, otherMembers: 2 };
    await cluster.start(0);
    await cluster.setWatermark();
    const pod = await cluster.add(0, []);
    const marks = join(pod.folder, "client", "NetXsqzbfFenS_highwatermarks");
    const waits = () =>
      cluster.log.filter((e) => e.event === "solo-start" && e.reason === "high-watermarks-broken").length;
    for (const times of [1, 2]) {
      writeFileSync(marks, '{"blocks":[{"delegate":"tz1');
      const before = cluster.headLevel();
      // At the start, and where the baker alone ended.
      if (times === 1) pod.run("baker-supervisor");
      else process.kill((await statusOf(pod))?.daemons[0]?.pid ?? NaN, "SIGKILL");
      await cluster.until("it waits", () => waits() === times);
      expect(existsSync(marks)).toBe(true);
      await cluster.until("it sets them aside", () => !existsSync(marks));
      expect(cluster.headLevel()).toBeGreaterThan(before + 5);
      await cluster.until("it runs", async () => (await statusOf(pod))?.running === true);
    }
    pod.supervisor?.kill("SIGTERM");
    await pod.exited();
    // No signature of this run is known, so nobody may start right above one.
    expect(await recorded(cluster)).toMatchObject({ floor: -1, unfenced: true });
  } finally {
    expect(await cluster.stop()).toEqual([]);
    await cluster.setWatermark();
  }
});
