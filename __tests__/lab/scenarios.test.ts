/** Scenario files, scaled timings, templates, and the gap that a receipt reports. */
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { defaultTimings } from "../../contract/timings";
import { resolveTemplate } from "../../lab/cluster/stack";
import { completeOptions } from "../../lab/lab";
import type { Signature } from "../../lab/lab-record";
import { addRun, readSeries, type Run } from "../../lab/results";
import { scaleOf, scaleTimings } from "../../lab/scale";
import { scenarios } from "../../lab/scenarios/built-in";
import { failureTable, outsideTheTable } from "../../lab/scenarios/failure-table";
import { failoverGap } from "../../lab/scenarios/receipt";
import { readScenario } from "../../lab/scenarios/scenario";
import { blockTime } from "../../lab/commands/start";

test("every row of the failure table has scenarios by its known names", () => {
  const wanted =
    "planned-switchover baker-crash node-crash pod-kill zone-loss stale-head both-stale chain-halt api-outage split-brain twin-pod signer-hang nonce-switchover rolling-update flag-on flag-off watermark-lost " +
    "signer-locked baker-hang full-disk-master dns-silent api-slow api-very-slow hostile-caller";
  expect(Object.keys(scenarios)).toEqual(expect.arrayContaining(wanted.split(" ")));
});

test("every scenario measures a known row, and every row has a scenario", () => {
  const rows = [...failureTable, ...outsideTheTable].map(({ row }) => row);
  const measured = new Set(Object.values(scenarios).map(({ row }) => row));
  expect([...measured].sort()).toEqual([...rows].sort());
});

test("an option of a laboratory that is undefined keeps its default", () => {
  expect(completeOptions({ blockMs: 6000, signers: undefined, flag: undefined, seed: undefined })).toMatchObject({
    ...{ signers: "hot", flag: true, history: true, doubleStartMs: 2000 },
    seed: expect.stringMatching(/^[0-9a-f]{8}$/) as unknown,
  });
  expect(completeOptions({ blockMs: 6000, signers: "tunnels", flag: false })).toMatchObject({
    signers: "tunnels",
    flag: false,
  });
});

test("runs are added to their scenario's file, and never to runs of another kind", () => {
  const folder = mkdtempSync(join(tmpdir(), "results-"));
  const about = { scenario: "drain", blockSeconds: 6, doubleStartSeconds: 2, machine: "2 cores" };
  const run: Run = {
    ...{
      date: "2026-11-25T19:00Z",
      load: [1, 2],
      ok: true,
      missedLevels: 0,
      failoverSeconds: 5.1,
      takeoverSeconds: 4,
      tenureSeconds: null,
    },
    ...{ overlapMs: 0, signatures: 10, violations: [], problems: [], stallMs: 0 },
  };
  addRun(folder, about, run);
  addRun(folder, about, { ...run, missedLevels: 1 });
  expect(readSeries(folder)).toEqual([{ ...about, runs: [run, { ...run, missedLevels: 1 }] }]);
  expect(() => addRun(folder, { ...about, doubleStartSeconds: 8 }, run)).toThrow("another folder");
});

test("a scenario file with an unknown fault says which ones there are", () => {
  const path = join(mkdtempSync(join(tmpdir(), "scenario-")), "s.yaml");
  const text = (fault: string) =>
    `name: mine\ntitle: t\nrow: r\nexplain: e\nsteps:\n  - { at: 0, fault: ${fault}, args: { pod: active } }\n`;
  writeFileSync(path, text("kill-pod"));
  expect(readScenario(path)).toMatchObject({ name: "mine", flag: true, steps: [{ at: 0, fault: "kill-pod" }] });
  writeFileSync(path, text("kill-pot"));
  expect(() => readScenario(path)).toThrow(/a fault is one of .*kill-pod.*; got kill-pot/);
});

test("timings scale together down to a sixth, and the lease stays whole", () => {
  expect(scaleTimings(1)).toEqual(defaultTimings);
  for (const blockMs of [200, 1000, 2000, 3000, 6000]) {
    const timings = scaleTimings(scaleOf(blockMs));
    expect(Number.isInteger(timings.leaseSeconds)).toBe(true);
    expect(timings.leaseSeconds).toBeGreaterThan(timings.renewDeadlineSeconds);
  }
  expect(scaleTimings(1 / 3)).toMatchObject({ leaseSeconds: 2, retrySeconds: 0.3333, aheadLevels: 2 });
});

test("Terraform's templates become what an apply would write", () => {
  const secrets = { hot_keys: { alice: { tz1x: "unencrypted:edsk" } } };
  expect(resolveTemplate('${var.secrets.hot_keys["alice"]["tz1x"]}', secrets)).toBe("unencrypted:edsk");
  expect(resolveTemplate('${sha256(join("", [uuid(), uuid()]))}', secrets)).toMatch(/^[0-9a-f]{64}$/);
  expect(resolveTemplate("$${HOME} ${google_compute_address.x.address}:1", secrets)).toBe("${HOME} :1");
});

test("the gap is that around the change of daemon, or else the longest silence", () => {
  const sign = (atMs: number, pid: number): Signature => ({
    atMs,
    pid,
    pod: `a-${pid}`,
    uid: `${pid}`,
    kind: "attestations",
    level: 1,
    round: 0,
  });
  const list = [sign(0, 1), sign(6000, 1), sign(20_000, 1), sign(26_000, 2), sign(35_000, 2)];
  expect(failoverGap(list, 1000)).toMatchObject({ seconds: 6, from: { atMs: 20_000 }, to: { atMs: 26_000 } });
  expect(failoverGap(list.slice(0, 3), 1000)).toMatchObject({ seconds: 14 });
  expect(failoverGap([], 0)).toEqual({ seconds: 0 });
});

test("a block time is seconds or milliseconds between 0.2 and 60 s", () => {
  expect(["6", "6s", "1.5", "200ms"].map(blockTime)).toEqual([6000, 6000, 1500, 200]);
  for (const wrong of ["0.1", "100", "x", "-1"]) expect(() => blockTime(wrong)).toThrow("--block-time");
});
