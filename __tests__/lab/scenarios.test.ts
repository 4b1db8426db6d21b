/** Scenario files, scaled timings, templates, and the gap that a receipt reports. */
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { defaultTimings } from "../../contract/timings";
import { resolveTemplate } from "../../lab/cluster/stack";
import type { Signature } from "../../lab/lab";
import { scaleOf, scaleTimings } from "../../lab/scale";
import { scenarios } from "../../lab/scenarios/built-in";
import { failoverGap } from "../../lab/scenarios/run";
import { readScenario } from "../../lab/scenarios/scenario";
import { blockTime } from "../../scripts/start";

test("every row of the failure table has scenarios by its known names", () => {
  const wanted =
    "planned-switchover baker-crash node-crash pod-kill zone-loss stale-head both-stale chain-halt api-outage split-brain twin-pod signer-hang nonce-switchover rolling-update flag-on flag-off watermark-lost";
  expect(Object.keys(scenarios)).toEqual(expect.arrayContaining(wanted.split(" ")));
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
