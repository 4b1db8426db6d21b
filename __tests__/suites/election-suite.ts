/**
 * Elections among real processes, against the embedded API and against a real API server alike. `k` = how many times
 * faster than the default timings. In each case the log of who ran when is printed, and bakers of two pods never
 * overlap wherever processes are scheduled.
 */
import { writePause } from "../../contract/handover-pause";
import { annotations } from "../../contract/names";
import { sleep } from "../../daemons/runtime/clock";
import { Cluster, scaledTimings, type ElectionSubject, type Entry, type Pod } from "../helpers/election";

type Start = () => Promise<ElectionSubject>;
type Body = (cluster: Cluster) => Promise<void>;

const of = (cluster: Cluster, pod: Pod, event: string): Entry[] =>
  cluster.log.filter((e) => e.uid === pod.uid && e.event === event);
const lost = (cluster: Cluster): Entry[] => cluster.log.filter((e) => e.event === "state" && e.to === "lost");

export interface SuiteOptions {
  k: number;
  /** Which cases: the fast core, or all. */
  cases: "core" | "all";
}

export function electionSuite(title: string, start: Start, { k, cases }: SuiteOptions): void {
  describe(title, () => {
    let subject: ElectionSubject;
    beforeAll(async () => {
      subject = await start();
    });
    afterAll(async () => {
      await subject.stop();
    });

    const run = (name: string, body: Body, options: { pods?: number; overlap?: "none" | "shown" } = {}) =>
      test(
        name,
        async () => {
          const cluster = new Cluster(subject, k);
          try {
            await cluster.start(options.pods ?? 2);
            await body(cluster);
            process.stdout.write(`  ${name}\n${cluster.story()}\n`);
            if (options.overlap !== "shown") expect(cluster.overlapMs()).toBe(0);
          } catch (error) {
            process.stdout.write(`  ${name} FAILED\n${cluster.story()}\n`);
            throw error;
          } finally {
            const leaked = await cluster.stop();
            expect(leaked).toEqual([]);
          }
        },
        120_000,
      );
    const core = run;
    const full: typeof run = cases === "all" ? run : () => undefined;
    const second = 1000 / k;

    core(
      "kill -9 of the whole pod: the other one runs after the lease and one retry, with a higher epoch; then SIGTERM hands back in order",
      async (cluster) => {
        const first = await cluster.running();
        const other = cluster.other(first);
        const before = await first.epoch();
        await cluster.until("the other one is eligible", () => of(cluster, other, "eligible").length > 0);
        const killedAtMs = cluster.nowMs();
        first.signal("SIGKILL");
        await first.exited();
        await first.down();
        expect(await cluster.running([other])).toBe(other);
        const tookMs = cluster.nowMs() - killedAtMs;
        process.stdout.write(
          `    takeover after ${(tookMs / 1000).toFixed(2)} s (${((tookMs * k) / 1000).toFixed(2)} s at the default timings)\n`,
        );
        expect(await other.epoch()).toBeGreaterThan(before);
        const receipt = (await cluster.receipts())[0];
        expect(receipt).toMatchObject({ from: first.name, to: other.name, cause: "expired" });

        // Its successor of the same name, then the end of the other one as a kubelet ends a pod.
        const fresh = await cluster.add(Number(first.name.slice(-1)));
        await cluster.until("the new pod is known to be eligible", async () =>
          ((await other.get(4040, "/members")) as { identity: string; eligible: boolean }[] | null)?.some(
            (m) => m.identity === fresh.identity && m.eligible,
          ),
        );
        // A lease that a pod has not seen for a lease time counts as held, for the named successor, too.
        await sleep(6.5 * second);
        await other.terminate();
        expect(await cluster.running([fresh])).toBe(fresh);
        expect((await cluster.receipts())[0]).toMatchObject({
          from: other.name,
          to: fresh.name,
          cause: "planned-sigterm",
        });
        expect((await cluster.receipts())[0]?.timeline.map((step) => step.event)).toEqual(
          expect.arrayContaining([
            "handover-began",
            "draining",
            "stopping",
            "pushing",
            "releasing",
            "released",
            "acquired",
          ]),
        );
        const released = of(cluster, other, "released")[0];
        const acquired = of(cluster, fresh, "acquired")[0];
        process.stdout.write(`    released -> acquired ${(acquired?.atMs ?? 0) - (released?.atMs ?? 0)} ms\n`);
        expect(lost(cluster)).toEqual([]);
      },
    );

    core(
      "one 409 by an operator's write loses no tenure; the preferred holder gets it, and its wish is cleared",
      async (cluster) => {
        const first = await cluster.running();
        const other = cluster.other(first);
        const epoch = await first.epoch();
        await cluster.until("the other one is eligible", () => of(cluster, other, "eligible").length > 0);
        await cluster.until("a conflict", async () => {
          // One after the other: a renewal is under way for some milliseconds only.
          for (let i = 0; i < 10; i++) await cluster.annotate("example.com/note", `${cluster.nowMs()} ${i}`);
          return of(cluster, first, "conflict").length > 0;
        });
        await sleep(2 * second);
        expect(await first.epoch()).toBe(epoch);
        await cluster.prefer(other);
        expect(await cluster.running([other])).toBe(other);
        expect((await cluster.lease()).metadata.annotations?.[annotations.preferredHolder]).toBeUndefined();
        expect((await cluster.receipts())[0]).toMatchObject({
          from: first.name,
          to: other.name,
          cause: "planned-operator",
        });
        expect(lost(cluster)).toEqual([]);
      },
    );

    full(
      "kill -9 of the elector: its successor begins a new tenure on its own lease, and the baker never stops",
      async (cluster) => {
        const first = await cluster.running();
        const epoch = await first.epoch();
        first.elector?.kill("SIGKILL");
        await sleep(100);
        first.run("elector");
        await cluster.until(
          "a new epoch",
          async () => ((await first.leadership())?.epoch ?? 0) > epoch && cluster.master([first]),
        );
        await sleep(second);
        expect(cluster.runs()).toHaveLength(1);
        expect((await cluster.receipts())[0]).toMatchObject({ cause: "reacquired" });
      },
    );

    full(
      "an elector that stays dead: the supervisor stops its baker by the last deadline, before the other one runs",
      async (cluster) => {
        const first = await cluster.running();
        first.elector?.kill("SIGKILL");
        expect(await cluster.running([cluster.other(first)])).toBeTruthy();
        expect(of(cluster, first, "daemon-killed")[0]).toMatchObject({ reason: "validity-expired" });
      },
    );

    full("an elector stopped by SIGSTOP: the supervisor does not wait for it", async (cluster) => {
      const first = await cluster.running();
      first.elector?.kill("SIGSTOP");
      expect(await cluster.running([cluster.other(first)])).toBeTruthy();
      expect(of(cluster, first, "daemon-killed")[0]).toMatchObject({ reason: "validity-expired" });
      first.elector?.kill("SIGCONT");
      await cluster.until("it knows that it lost", () => of(cluster, first, "state").some((e) => e.to === "lost"));
      await sleep(2 * second);
      expect(await cluster.master([first])).toBeUndefined();
    });

    full(
      "kill -9 of the supervisor: its baker dies with it, and runs again with its successor in the same tenure",
      async (cluster) => {
        const first = await cluster.running();
        const epoch = await first.epoch();
        first.supervisor?.kill("SIGKILL");
        await sleep(150);
        const last = cluster.beats().at(-1)?.atMs ?? 0;
        expect(cluster.nowMs() - last).toBeGreaterThan(80);
        first.run("baker-supervisor");
        expect(await cluster.running([first])).toBe(first);
        expect(await first.epoch()).toBe(epoch);
      },
    );

    full("kill -9 of its node: planned handover after 6 s without eligibility", async (cluster) => {
      const first = await cluster.running();
      const other = cluster.other(first);
      await cluster.until("the other one is eligible", () => of(cluster, other, "eligible").length > 0);
      first.facts.ready = false;
      expect(await cluster.running([other])).toBe(other);
      expect((await cluster.receipts())[0]).toMatchObject({ cause: "planned-ineligible" });
      expect(lost(cluster)).toEqual([]);
    });

    full("a DAL node that hangs on one: planned handover; on both: it stays", async (cluster) => {
      const first = await cluster.running();
      const other = cluster.other(first);
      await cluster.until("the other one is eligible", () => of(cluster, other, "eligible").length > 0);
      first.facts.dalWell = false;
      expect(await cluster.running([other])).toBe(other);
      expect((await cluster.receipts())[0]).toMatchObject({ cause: "planned-dal" });
      other.facts.dalWell = false;
      await sleep(20 * second);
      expect(await cluster.master()).toBe(other);
      expect(lost(cluster)).toEqual([]);
    });

    full("a paused master stays although its head is behind, and moves once the pause is over", async (cluster) => {
      const first = await cluster.running();
      const other = cluster.other(first);
      await cluster.until("the other one is eligible", () => of(cluster, other, "eligible").length > 0);
      const pause = (untilMs: number) =>
        cluster.annotate(annotations.handoverPause, writePause({ untilMs, reason: "new disk" }));
      await pause(Date.now() + 3600 * second);
      first.facts.headOffset = -3;
      // Without the pause it would hand over after 6 s.
      await sleep(15 * second);
      expect(await cluster.master()).toBe(first);
      await pause(Date.now());
      expect(await cluster.running([other])).toBe(other);
      expect((await cluster.receipts())[0]).toMatchObject({ cause: "planned-behind" });
      expect(lost(cluster)).toEqual([]);
    });

    full("stale head on one: planned handover; stale heads on both: it stays", async (cluster) => {
      const first = await cluster.running();
      const other = cluster.other(first);
      await cluster.until("the other one is eligible", () => of(cluster, other, "eligible").length > 0);
      first.facts.headOffset = -3;
      expect(await cluster.running([other])).toBe(other);
      expect((await cluster.receipts())[0]).toMatchObject({ cause: "planned-behind" });
      first.facts.ready = false;
      other.facts.ready = false;
      await sleep(20 * second);
      expect(await cluster.master()).toBe(other);
      expect(lost(cluster)).toEqual([]);
    });

    full(
      "SIGSTOP of the whole pod for 30 s and resume: the other one runs; what the stopped machine does afterwards is shown",
      async (cluster) => {
        const first = await cluster.running();
        const other = cluster.other(first);
        first.signal("SIGSTOP");
        expect(await cluster.running([other])).toBe(other);
        await sleep(23 * second);
        const resumedAtMs = cluster.nowMs();
        first.signal("SIGCONT");
        await cluster.until("it knows that it lost", () => of(cluster, first, "state").some((e) => e.to === "lost"));
        await sleep(3 * second);
        const after = cluster.beats().filter((beat) => beat.pod === first.identity && beat.atMs >= resumedAtMs - 5);
        const spanMs = after.length > 0 ? (after.at(-1)?.atMs ?? 0) - resumedAtMs : 0;
        process.stdout.write(
          `    after its resumption the stopped baker ran ${spanMs.toFixed(0)} ms before it was killed: overlap ${cluster.overlapMs(200).toFixed(0)} ms; this is what the signing gate refuses\n`,
        );
        expect(spanMs).toBeLessThan(300);
        expect(await cluster.master()).toBe(other);
      },
      { overlap: "shown" },
    );

    for (const seconds of [3, 10, 60])
      full(
        `the API cut for ${seconds} s from all pods: ${seconds < 5 ? "the tenure survives" : "nothing runs beyond the deadline, and a new tenure begins at its return"}`,
        async (cluster) => {
          const first = await cluster.running();
          const epoch = await first.epoch();
          for (const pod of cluster.pods) pod.relay.set("cut");
          await sleep(seconds * second);
          const last = cluster.beats().at(-1)?.atMs ?? 0;
          const silentMs = cluster.nowMs() - last;
          const backAtMs = cluster.nowMs();
          for (const pod of cluster.pods) pod.relay.set("pass");
          const master = await cluster.running();
          const backMs = cluster.nowMs() - backAtMs;
          process.stdout.write(
            `    silent ${silentMs.toFixed(0)} ms at the return; running ${backMs.toFixed(0)} ms after it\n`,
          );
          if (seconds < 5) {
            expect(await master.epoch()).toBe(epoch);
            expect(lost(cluster)).toEqual([]);
          } else {
            expect(silentMs).toBeGreaterThan((seconds - 6) * second);
            expect(await master.epoch()).toBeGreaterThan(epoch);
            // 2 s and the start of the daemon, which is not accelerated.
            expect(backMs).toBeLessThan(2000 / Math.min(k, 2) + 700);
          }
        },
      );

    for (const mode of ["cut", "hang"] as const)
      full(
        `the API ${mode === "cut" ? "cut" : "silent"} for the holder alone: the other one takes over`,
        async (cluster) => {
          const first = await cluster.running();
          first.relay.set(mode);
          expect(await cluster.running([cluster.other(first)])).toBeTruthy();
          first.relay.set("pass");
          await sleep(3 * second);
          expect(await cluster.master()).toBe(cluster.other(first));
        },
      );

    full(
      "writes fail while reads work, in pulses of 3, 5 and 20 s: the first is survived, after the others a new tenure begins",
      async (cluster) => {
        const first = await cluster.running();
        const all = async (seconds: number) => {
          for (const pod of cluster.pods) pod.relay.set("fail-writes");
          await sleep(seconds * second);
          for (const pod of cluster.pods) pod.relay.set("pass");
          await sleep(3 * second);
        };
        const epoch = await first.epoch();
        await all(3);
        expect(await first.epoch()).toBe(epoch);
        await all(5);
        await cluster.running();
        await all(20);
        const master = await cluster.running();
        expect(await master.epoch()).toBeGreaterThan(epoch);
      },
    );

    full("twin pods of one name: only one of them ever runs", async (cluster) => {
      const first = await cluster.running();
      const twin = await cluster.add(Number(first.name.slice(-1)));
      await sleep(6 * second);
      expect(await cluster.master()).toBe(first);
      first.signal("SIGKILL");
      await first.exited();
      const next = await cluster.running([twin, cluster.other(first)]);
      expect(next).not.toBe(first);
    });

    full(
      "the lease deleted and recreated between acquiring and the first act: the tenure is over, and the next one waits for a lease time",
      async (cluster) => {
        const first = await cluster.running();
        const old = await cluster.lease();
        const deletedAtMs = cluster.nowMs();
        await cluster.subject.admin("DELETE", cluster.leasePath);
        await cluster.until("it knows that it lost", () => lost(cluster).length > 0);
        const next = await cluster.running();
        const fresh = await cluster.lease();
        expect(fresh.metadata.uid).not.toBe(old.metadata.uid);
        expect(of(cluster, first, "daemon-killed").length).toBeGreaterThan(0);
        const began = cluster.runs().at(-1)?.fromMs ?? 0;
        expect(began - deletedAtMs).toBeGreaterThanOrEqual(cluster.timings.leaseSeconds * 1000);
        expect(next).toBeTruthy();
      },
    );

    full("a watermark of a higher epoch: the next tenure is above it", async (cluster) => {
      const first = await cluster.running();
      await cluster.setWatermark({
        version: 1,
        baker: cluster.baker,
        chain: "x",
        epoch: 41,
        holder: "",
        floor: 5,
        marks: {},
        unfenced: false,
      });
      first.facts.tenureLost = "higher-epoch";
      await cluster.until("an epoch of 42", async () => {
        if (((await first.leadership())?.epoch ?? 0) > 41) first.facts.tenureLost = null;
        return ((await (await cluster.master())?.leadership())?.epoch ?? 0) === 42;
      });
      await cluster.running();
      expect(lost(cluster)).toEqual([]);
    });

    full("an intermittent member with a wish for it: one handover to it at most, and no flapping", async (cluster) => {
      const first = await cluster.running();
      const other = cluster.other(first);
      let on = true;
      const flicker = setInterval(() => {
        on = !on;
        other.facts.ready = on;
      }, 3 * second);
      try {
        await cluster.prefer(other);
        await sleep(50 * second);
      } finally {
        clearInterval(flicker);
      }
      const epochs = cluster.log.filter((e) => e.event === "acquired").length;
      expect(epochs).toBeLessThanOrEqual(3);
      expect(lost(cluster)).toEqual([]);
      await cluster.running();
    });

    full(
      "a rolling update that changes the timings: one pod after the other, a planned handover each, no overlap",
      async (cluster) => {
        const first = await cluster.running();
        const other = cluster.other(first);
        await cluster.until("the other one is eligible", () => of(cluster, other, "eligible").length > 0);
        await sleep(3 * second);
        cluster.timings = scaledTimings(k / 2);
        await other.terminate();
        const newOther = await cluster.add(Number(other.name.slice(-1)));
        await cluster.until("the new pod is eligible", () => of(cluster, newOther, "eligible").length > 0);
        await sleep(6 * second);
        await first.terminate();
        expect(await cluster.running([newOther])).toBe(newOther);
        const newFirst = await cluster.add(Number(first.name.slice(-1)));
        await cluster.until("the new pod is eligible", () => of(cluster, newFirst, "eligible").length > 0);
        await sleep(4 * second);
        expect(await cluster.master()).toBe(newOther);
        expect((await cluster.lease()).spec.leaseDurationSeconds).toBe(cluster.timings.leaseSeconds);
        expect(lost(cluster)).toEqual([]);
      },
    );

    full(
      "SIGTERM with nobody to follow: the baker stops, then the lease is released",
      async (cluster) => {
        const only = await cluster.running();
        await only.terminate();
        expect((await cluster.lease()).spec.holderIdentity).toBe("");
        expect(cluster.nowMs() - (cluster.beats().at(-1)?.atMs ?? 0)).toBeGreaterThan(30);
      },
      { pods: 1 },
    );

    full("nobody eligible for 60 s: the last resort runs all the same", async (cluster) => {
      for (const pod of cluster.pods) pod.facts.ready = false;
      const first = await cluster.running(cluster.pods, 90_000);
      if (of(cluster, first, "eligible").length === 0)
        expect((await cluster.receipts())[0]).toMatchObject({ cause: "last-resort" });
    });
  });
}
