/** The watch of `rewards` and `switchover`: what it asks the sidecars, what it prints of the chain, how it ends. */
import { ClusterError, type Cluster } from "../../cockpit/cluster";
import { cockpit } from "../../cockpit/main";
import { renderRewards, rewardsSentence, watchRewards, type Rewards } from "../../cockpit/rewards";
import { exitCodeOf, levelsToWatch } from "../../cockpit/switchover-command";
import type { ChainSlots, LevelSlots } from "../../contract/chain-slots";
import { togProgram } from "../../contract/images";

const slots = (
  level: number,
  attestation: LevelSlots["attestation"] = "included",
  block: LevelSlots["block"] = "none",
) => ({
  ...{ level, attestation, block },
});
const rewards = (levels: LevelSlots[], changes: Partial<Rewards> = {}): Rewards => ({
  ...{ from: 100, levels, missedSlots: [], ended: null },
  ...changes,
});
const since = "since the switchover";
const five = [100, 101, 102, 103, 104];

test.each<[string, Rewards, boolean, string]>([
  [
    "all are included",
    rewards(five.map((level) => slots(level))),
    true,
    "Rewards go on: 5 of 5 attestations included since the switchover.",
  ],
  [
    "blocks are told where there was a right to one",
    rewards([...five.slice(1).map((level) => slots(level)), slots(105, "included", "baked")]),
    true,
    "Rewards go on: 5 of 5 attestations included and 1 of 1 block baked since the switchover.",
  ],
  [
    "levels without a right count neither way",
    rewards([slots(100, "none"), slots(101), slots(102, "none")]),
    true,
    "Rewards go on: 1 of 1 attestation included since the switchover.",
  ],
  [
    "some are missing and the last is included",
    rewards([slots(100, "missed"), slots(101, "missed"), slots(102), slots(103, "included", "missed")]),
    true,
    "Rewards go on, with gaps: 2 of 4 attestations included and 0 of 1 block baked since the switchover; missing: attestations of levels 100, 101 and blocks of level 103.",
  ],
  [
    "the last one is missing",
    rewards([slots(100), slots(101, "missed"), slots(102, "none")]),
    false,
    "Rewards do not go on: 1 of 2 attestations included since the switchover; missing: attestations of level 101. `npm run baker -- status` says who signs, and `doctor` checks every hop to the signer.",
  ],
  [
    "a node does not tell the round of a block",
    rewards([slots(100, "included", "baked"), slots(101, "included", "unknown")]),
    true,
    "Rewards go on: 2 of 2 attestations included and 1 of 1 block baked, 1 block not known since the switchover.",
  ],
  [
    "the only right was to a block of which the node does not tell the round",
    rewards([slots(100, "none", "unknown")]),
    true,
    "Nothing can be said yet: no right to attest in 1 level since the switchover, 1 block not known.",
  ],
  [
    "somebody interrupts before a level was seen",
    rewards([], { ended: "interrupted" }),
    false,
    "Whether rewards go on is not known: no level was seen since the switchover. The watch was interrupted.",
  ],
  [
    "there was no right at all",
    rewards([slots(100, "none"), slots(101, "none")]),
    true,
    "Nothing can be said yet: no right to attest or to bake in 2 levels since the switchover.",
  ],
  [
    "a person has seen enough",
    rewards([slots(100)], { ended: "interrupted" }),
    true,
    "Rewards go on: 1 of 1 attestation included since the switchover. The watch was interrupted.",
  ],
  [
    "the chain stands still",
    rewards([slots(100)], { ended: "no new level within 60 s" }),
    false,
    "Rewards go on: 1 of 1 attestation included since the switchover. Then there was no new level within 60 s. `npm run baker -- status` says who signs, and `doctor` checks every hop to the signer.",
  ],
  [
    "no level was seen",
    rewards([], { ended: "no new level within 60 s (alice-as-0: no head)" }),
    false,
    "Whether rewards go on is not known: no level was seen since the switchover. Then there was no new level within 60 s (alice-as-0: no head). `npm run baker -- status` says who signs, and `doctor` checks every hop to the signer.",
  ],
])("one sentence says how it is where %s", (_name, seen, well, sentence) => {
  expect(rewardsSentence(seen, since)).toEqual({ well, sentence });
});

test("what is missing is told with whose it was", () => {
  const missedSlots = [
    ...[{ kind: "attestation" as const, level: 100, whose: "ours" as const, why: "it was not signed: no signer" }],
  ].map((slot) => ({ ...slot, at: "2026-11-28T18:00:00Z", pod: "alice-as-0" }));
  const text = renderRewards(rewards([slots(100, "missed"), slots(101)], { missedSlots }), since);
  expect(text.replace(/\s+/g, " ")).toContain("level 100 attestation, ours: it was not signed: no signer");
});

/** Two pods of which one is a level behind; a block every 6 s of a clock that only waits move. */
class Played {
  ms = 0;
  asked: string[][] = [];
  /** The head that a pod's node tells, or why it tells none; undefined: nothing answers. */
  heads: Record<string, (seconds: number) => number | string | ClusterError | undefined> = {
    "alice-as-0": (s) => 101 + Math.floor(s / 6),
    "alice-as-1": (s) => 100 + Math.floor(s / 6),
  };
  missed: readonly number[] = [];
  onWait: () => void = () => undefined;
  /** What a question becomes that nothing answers. */
  asking: (pod: string) => Promise<never> = () => new Promise(() => undefined);
  readonly lines: string[] = [];
  readonly interrupted = new AbortController();
  readonly cluster = {
    namespace: "tezos",
    pods: () =>
      Promise.resolve(Object.keys(this.heads).map((name) => ({ metadata: { name, labels: { baker: "alice" } } }))),
    exec: (pod: string, container: string, command: string[]) => {
      this.asked.push([container, ...command]);
      const head = this.heads[pod]?.(this.ms / 1000);
      if (head === undefined) return this.asking(pod);
      if (head instanceof ClusterError) return Promise.reject(head);
      if (typeof head === "string") return Promise.resolve({ code: 1, out: "", err: head });
      return Promise.resolve({ code: 0, out: JSON.stringify(this.answer(head, command[3])), err: "" });
    },
    configMaps: () => Promise.resolve([]),
    lease: () => Promise.resolve(undefined),
  } as unknown as Cluster;

  private answer(head: number, from: string | undefined): ChainSlots {
    const first = Number(from ?? head);
    const levels = Array.from({ length: Math.max(0, head - 1 - first) }, (_, i) => first + i);
    return {
      ...{ delegate: "tz1a", head, blockSeconds: 6 },
      levels: levels.map((level) => slots(level, this.missed.includes(level) ? "missed" : "included")),
    };
  }
  watch(levels = 3, from?: number): Promise<Rewards> {
    return watchRewards(this.cluster, "alice", {
      ...{ levels, from, interrupted: this.interrupted.signal, progress: (line) => void this.lines.push(line) },
      now: () => this.ms,
      sleep: (ms) => {
        this.ms += ms;
        this.onWait();
        return Promise.resolve();
      },
    });
  }
}

test("each new level is told once, in its order, by the node that is furthest", async () => {
  const played = new Played();
  played.missed = [101];
  const seen = await played.watch();
  expect(played.lines).toEqual([
    "watching levels 100 to 102; Ctrl-C ends the watch and changes nothing",
    "level 100: attestation included",
    "level 101: attestation MISSED",
    "level 102: attestation included",
  ]);
  expect(seen).toEqual({
    from: 100,
    levels: [slots(100), slots(101, "missed"), slots(102)],
    missedSlots: [],
    ended: null,
  });
  // Nothing but questions, and none about a level that is known already.
  expect(new Set(played.asked.map((words) => words.join(" ")))).toEqual(
    new Set(["", " 100", " 101", " 102"].map((from) => `sidecar ${togProgram} sidecar slots${from}`)),
  );
});

test("after a switchover the watch begins with the level that the new master attested first", async () => {
  const played = new Played();
  expect((await played.watch(3, 98)).levels.map(({ level }) => level)).toEqual([98, 99, 100]);
});

test("a node that does not answer for a while costs nothing, since the next answer has its levels", async () => {
  const played = new Played();
  for (const pod of ["alice-as-0", "alice-as-1"])
    played.heads[pod] = (s) => (s > 3 && s < 40 ? "it starts" : 101 + Math.floor(s / 6));
  const { levels, ended } = await played.watch(4);
  expect({ count: levels.length, ended }).toEqual({ count: 4, ended: null });
});

test("a chain that stands still ends the watch, and so do nodes that tell nothing any more", async () => {
  const still = new Played();
  still.heads = { "alice-as-0": (s) => Math.min(102, 101 + Math.floor(s / 6)) };
  expect(await still.watch()).toMatchObject({ levels: [slots(100)], ended: "no new level within 60 s" });
  const silent = new Played();
  silent.heads = { "alice-as-0": (s) => (s === 0 ? 101 : "connection refused") };
  expect((await silent.watch()).ended).toBe(
    "no new level within 60 s (no node of alice tells what became of its slots: alice-as-0: connection refused)",
  );
});

test("Ctrl-C ends the watch at once with what was seen", async () => {
  const played = new Played();
  played.onWait = () => {
    if (played.lines.length === 2) played.interrupted.abort();
  };
  expect(await played.watch(100)).toMatchObject({ levels: [slots(100)], ended: "interrupted" });
});

test.each([0, 1])("Ctrl-C does not wait for question %d, to which a dead kubelet answers in a minute", async (nth) => {
  const played = new Played();
  const asked: string[] = [];
  played.missed = [100];
  played.heads = { "alice-as-0": (s) => (s >= 6 * nth ? undefined : 102), "alice-as-1": () => undefined };
  if (nth > 0) played.heads["alice-as-1"] = (s) => (s >= 6 * nth ? undefined : 102);
  played.asking = (pod) => {
    asked.push(pod);
    // As soon as both were asked: they are asked at once.
    if (asked.length === 2) played.interrupted.abort();
    return new Promise(() => undefined);
  };
  const { ended, levels, from } = await played.watch();
  expect({ ended, levels, from, asked }).toEqual({
    ...{ ended: "interrupted", levels: [], from: nth === 0 ? null : 101 },
    asked: ["alice-as-0", "alice-as-1"],
  });
});

test("an interrupted watch asks the cluster for nothing more, not even whose the missing ones were", async () => {
  const played = new Played();
  played.missed = [100];
  let asked = 0;
  played.cluster.lease = () => Promise.resolve(void asked++);
  played.onWait = () => {
    if (played.lines.length === 2) played.interrupted.abort();
  };
  expect(await played.watch(100)).toMatchObject({ levels: [slots(100, "missed")], ended: "interrupted" });
  expect(asked).toBe(0);
});

test("a cluster that refuses ends the watch at once, and one that is away only where it does not come back", async () => {
  const forbidden = new ClusterError("forbidden", "the cluster refused it (403)");
  const away = new ClusterError("unreachable", "no answer from the cluster");
  const refused = new Played();
  refused.heads = { "alice-as-0": (s) => (s === 0 ? 101 : forbidden) };
  await expect(refused.watch()).rejects.toBe(forbidden);
  expect(refused.ms).toBe(6000);
  const gone = new Played();
  gone.heads = { "alice-as-0": (s) => (s === 0 ? 101 : away) };
  await expect(gone.watch()).rejects.toBe(away);
  const back = new Played();
  back.heads = { "alice-as-0": (s) => (s > 3 && s < 40 ? away : 101 + Math.floor(s / 6)) };
  expect((await back.watch()).ended).toBeNull();
});

test("pods of an older version are said to be that", async () => {
  const usage = 'sidecar takes no argument, keys, signers or protocols; got "slots"';
  const played = new Played();
  played.heads = { "alice-as-0": () => usage, "alice-as-1": () => `${usage}\n` };
  const nobody = "no node of alice tells what became of its slots:";
  await expect(played.watch()).rejects.toThrow(new Error(`${nobody} the pods are of an older version`));
  played.heads["alice-as-1"] = () => "connection refused";
  await expect(played.watch()).rejects.toThrow(
    `${nobody} alice-as-0: the pod is of an older version; alice-as-1: connection refused`,
  );
});

test("a switchover that succeeded is one where nobody asked for the watch that could not run", () => {
  const code = (seen: Rewards | null, explicit: boolean) => exitCodeOf(seen, explicit, since);
  const well = rewards([slots(100)]);
  const lost = rewards([slots(100, "missed")]);
  const interrupted = rewards([], { ended: "interrupted" });
  const stands = rewards([], { ended: "no new level within 60 s" });
  expect([null, interrupted, well, lost, stands].map((seen) => code(seen, false))).toEqual([0, 0, 0, 1, 1]);
  expect([null, interrupted, well, lost, stands].map((seen) => code(seen, true))).toEqual([1, 1, 0, 1, 1]);
});

test("a person is shown the rewards after a switchover, and a script is not kept waiting unless it asks", () => {
  expect(levelsToWatch(true, {})).toBe(5);
  expect(levelsToWatch(false, {})).toBe(0);
  expect(levelsToWatch(true, { json: true })).toBe(0);
  expect(levelsToWatch(true, { watchRewards: false })).toBe(0);
  expect(levelsToWatch(false, { watchRewards: true })).toBe(5);
  expect(levelsToWatch(false, { watchRewards: 12, json: true })).toBe(12);
});

test.each(["0", "601", "five", "-1", ""])("%p levels are refused before the cluster is asked", async (text) => {
  let err = "";
  const connect = () => {
    throw new Error("options are read before the cluster is asked");
  };
  const io = { connect, out: () => undefined, err: (said: string) => void (err += said), terminal: false };
  expect(await cockpit(["rewards", `--levels=${text}`], io)).toBe(2);
  expect(await cockpit(["switchover", `--watch-rewards=${text}`], io)).toBe(2);
  expect(err).toContain("from 1 to 600");
});
