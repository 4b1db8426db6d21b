/** What the page shows, as facts: who signs, why nobody does, and what a receipt says. */
import { eventSentence } from "../../diagnosis/events";
import { diagnose } from "../../diagnosis/diagnose";
import { deploymentOf, viewOf } from "../../diagnosis/view";
import { logLine, receiptSentence, signerOf, type CaseReceipt } from "../../lab/page-receipts";
import { headlineOf } from "../../lab/page-state";
import { findAll } from "../../tools/docs/metrics";

const level = (attestedBy: string | null, attestationMissed: boolean | null, atMs = 0) => ({
  attestedBy,
  attestationMissed,
  atMs,
});

test("who attested the last level signs, whatever other process still exists", () =>
  expect(signerOf([level("alice-as-0", false), level("alice-as-1", false), level(null, null)])).toBe("alice-as-1"));
test("over a missed level nobody signs, whoever holds the lease", () => {
  expect(signerOf([level("alice-as-0", false), level(null, true), level(null, null)])).toBeUndefined();
  expect(signerOf([])).toBeUndefined();
});
test("a level without a right says nothing, and a halted chain's last attestation grows old", () => {
  expect(signerOf([level("alice-as-0", false), level(null, false)])).toBe("alice-as-0");
  expect(signerOf([level("alice-as-0", false, 100)], 101)).toBeUndefined();
});

describe("the headline is the diagnosis of `status`", () => {
  const view = {
    ...viewOf(
      deploymentOf("alice", [], []),
      { lease: undefined, members: [], changed: new Set(), seenMs: { from: 0, to: 0 } },
      0,
    ),
    apiSilentSeconds: 9,
  };
  const diagnosis = diagnose(view);
  test("where nobody signs it says why", () =>
    expect(headlineOf(undefined, 3, diagnosis, true).sentence).toBe(
      "Nobody signs: the Kubernetes API has not answered for 9 s",
    ));
  test("who signs on is named, with what the diagnosis says against it", () =>
    expect(headlineOf("alice-as-0", 3, diagnosis, true)).toEqual({
      ...{ signer: "alice-as-0", sentence: "alice-as-0 signs, epoch 3" },
      doubt: "the Kubernetes API has not answered for 9 s",
    }));
});

describe("a receipt begins with one sentence", () => {
  const receipt: Omit<CaseReceipt, "sentence"> = {
    ...{ id: 1, title: "Kill a pod (alice-as-0)", at: "", from: "alice-as-0", to: "alice-as-1", cause: "expired" },
    ...{ missedLevels: 2, missed: [3, 4], goalMissedLevels: 2, silentSeconds: 12, silent: false },
    ...{ overlap: { ms: 0, text: "" }, violations: 0, open: false, interrupted: false, timeline: [] },
    phases: [
      { name: "fault", atMs: 0 },
      { name: "acquired", atMs: 6100 },
      { name: "first signature", atMs: 8400 },
    ],
  };
  test.each<[string, Partial<CaseReceipt>, string]>([
    [
      "a takeover",
      {},
      "Kill a pod (alice-as-0): alice-as-1 took over after 6.1 s (the lease ran out: its holder had stopped renewing it) and signed first after 8.4 s; 2 levels were missed (goal: at most 2).",
    ],
    [
      "nobody signs: it counts",
      { silent: true, open: true, to: "", silentSeconds: 13.4, goalMissedLevels: null },
      "Kill a pod (alice-as-0): nobody has signed for 13.4 s; 2 levels were missed. It is still going on.",
    ],
    [
      "no change of the master",
      { to: "alice-as-0", phases: [{ name: "fault", atMs: 0 }], missedLevels: 0, goalMissedLevels: null },
      "Kill a pod (alice-as-0): alice-as-0 signs on; no level was missed.",
    ],
    [
      "the next fault comes before it is over",
      { interrupted: true, missedLevels: 1 },
      "Kill a pod (alice-as-0): alice-as-1 took over after 6.1 s (the lease ran out: its holder had stopped renewing it) and signed first after 8.4 s; 1 level was missed (goal: at most 2). Then came the next fault.",
    ],
  ])("%s", (_name, changes, sentence) => expect(receiptSentence({ ...receipt, ...changes })).toBe(sentence));
});

test("every event that a daemon logs has a sentence", () => {
  const { events } = findAll();
  const silent = [...events.keys()].filter((key) => {
    const [source = "", event = ""] = key.split(" ").slice(-2);
    return eventSentence({ source, event, reason: "why", fields: {} }) === undefined;
  });
  expect(silent).toEqual([]);
});

test("a sentence has the fields of the entry, and nothing where they are missing", () => {
  const entry = { atMs: 1, level: "info" as const, pod: "alice-as-0", source: "signing-gate", event: "signed" };
  const fields = { kind: "attestation", blockLevel: 7 };
  expect(logLine({ ...entry, reason: "above", fields }).text).toBe("The gate let be signed: attestation of level 7.");
  expect(eventSentence({ source: "sidecar", event: "stopping", reason: "" })).toBe("The sidecar is told to stop.");
  expect(logLine({ ...entry, event: "unheard-of", reason: "x" })).toMatchObject({ known: false });
});
