import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Receipt } from "../../../contract/receipt";
import { certificateEnd, exportTransitions } from "../../../daemons/elector/metrics";
import { createRegistry } from "../../../daemons/runtime/metrics";
import { createAuthority } from "../../../lab/kube-api/certificates";

const folder = mkdtempSync(join(tmpdir(), "tog-metrics-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const receipt = (epoch: number, missedLevels: number | null): Receipt => ({
  ...{
    epoch,
    from: "alice-as-0",
    to: "alice-as-1",
    cause: "expired",
    at: "2026-11-25T00:00:00Z",
    timeline: [
      { atMs: 0, event: "last-renewal-seen", reason: "alice-as-0" },
      { atMs: 7000, event: "acquired", reason: "expired" },
    ],
    missedLevels,
  },
});

test("each kept receipt is a series, and one that is no longer kept is gone", async () => {
  const caFile = join(folder, "ca.crt");
  writeFileSync(caFile, createAuthority().certificate);
  const registry = createRegistry("alice", "alice-as-1");
  let receipts = [receipt(2, null), receipt(1, 1)];
  exportTransitions(registry, { receipts: () => receipts, pausedSeconds: () => 90, caFile });
  const series = async (name: string) =>
    (await registry.metrics()).split("\n").filter((line) => line.startsWith(`${name}{`));
  const labels = (epoch: number) =>
    `epoch="${epoch}",from="alice-as-0",to="alice-as-1",cause="expired",baker="alice",pod="alice-as-1"`;
  expect(await series("tog_elector_transition_missed_levels")).toEqual([
    `tog_elector_transition_missed_levels{${labels(1)}} 1`,
  ]);
  // The receipt's own `at` is the last renewal that was seen before a loss: the transition is not older than its fault.
  expect(await series("tog_elector_transition_timestamp_seconds")).toEqual([
    `tog_elector_transition_timestamp_seconds{${labels(2)}} ${Date.parse("2026-11-25T00:00:07Z") / 1000}`,
    `tog_elector_transition_timestamp_seconds{${labels(1)}} ${Date.parse("2026-11-25T00:00:07Z") / 1000}`,
  ]);
  expect((await series("tog_elector_handovers_paused_seconds"))[0]).toMatch(/ 90$/);
  receipts = [receipt(2, 0)];
  expect(await series("tog_elector_transition_missed_levels")).toEqual([
    `tog_elector_transition_missed_levels{${labels(2)}} 0`,
  ]);
  const [end] = await series("tog_elector_ca_end_timestamp_seconds");
  expect(Number(end?.split(" ")[1])).toBeGreaterThan(Date.now() / 1000);
  writeFileSync(caFile, "");
  expect(await series("tog_elector_ca_end_timestamp_seconds")).toEqual([]);
});

test("of several authorities the first to end counts", () => {
  const { certificate } = createAuthority();
  expect(certificateEnd(`${certificate}\n${certificate}`)).toBe(certificateEnd(certificate));
  expect(() => certificateEnd("nonsense")).toThrow("no certificate in it");
});
