/**
 * A laboratory whose Octez is a folder of programs: that these run, and that the laboratory sees by itself what doubles
 * tell it otherwise. The programs are stand-ins: nothing here is about Octez.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bundleDoubles } from "../../../lab/bundle";
import { Lab } from "../../../lab/lab";
import { findOctez, octezPrograms } from "../../../lab/octez/programs";
import { daemonBundle } from "../../../lab/programs";
import { buildDaemons } from "../../../scripts/build";
import { writeStandIns } from "../../helpers/octez-stand-ins";

const folder = mkdtempSync(join(tmpdir(), "octez programs-"));
let lab: Lab;
let started: string;
beforeAll(async () => {
  started = writeStandIns(folder, (await bundleDoubles()).doubles);
  const octez = findOctez(folder, {});
  if (typeof octez === "string") throw new Error(octez);
  lab = await Lab.start({ octez, blockMs: 1000, tog: await daemonBundle(buildDaemons) });
  await lab.ready();
}, 180_000);
afterAll(async () => {
  await lab?.stop();
  rmSync(folder, { recursive: true });
});

test("every program is the one of the folder, in the pods and around them", () => {
  const lines = readFileSync(started, "utf8").trim().split("\n");
  const programs = new Set(lines.map((line) => line.split(" ")[0]));
  expect([...programs].sort()).toEqual([...octezPrograms].sort());
  expect(lines.filter((line) => line.startsWith("octez-node config init"))).toHaveLength(3);
  expect(lines.filter((line) => / --peer 127\.[\d.]+:\d+$/.test(line))).toHaveLength(2);
});

test("a pod is killed: who signs, who bakes and what was missed come from signer, processes and chain", async () => {
  const from = lab.activePod() ?? "";
  const to = lab.otherPod(from);
  // Nothing is missed before the delegate's first attestation.
  const begun = () => lab.chain.levels.some((one) => one.attestedBy === from && one.attestationMissed === false);
  await lab.until("its attestation is in the chain", begun, 60_000);
  const { level } = lab.chain.head;
  lab.cluster.killPod(from);
  await lab.until("the other one bakes", () => lab.activePod() === to, 60_000);
  const attested = () => lab.chain.levels.filter((one) => one.attestedBy === to && one.attestationMissed === false);
  await lab.until("its attestations are in the chain", () => attested().length >= 2, 60_000);
  const baker = lab.trace.intervals.find((interval) => interval.pod === from && interval.role === "octez-baker");
  expect(baker?.endMs).toBeGreaterThan(baker?.startMs ?? Infinity);
  expect(lab.chain.missedSince(level)).toBeGreaterThan(0);
  expect(new Set(lab.signatures.map(({ pod }) => pod))).toEqual(new Set([from, to]));
  expect(lab.signatures.every(({ address }) => address === lab.synthesis.bakers[0]?.delegate)).toBe(true);
  expect(lab.verdict()).toEqual([]);
}, 180_000);

test("what only the simulated chain can do says so", () => {
  expect(() => lab.simulation).toThrow("this needs the simulated chain: start the laboratory without real Octez");
});
