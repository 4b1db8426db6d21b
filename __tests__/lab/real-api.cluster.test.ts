/**
 * The laboratory's pods (every container of the synthesized pod as a process) with a real API server in the place of
 * the embedded one: electors, gates and guards call it with tokens of the stack's service accounts, under the stack's
 * Role. Takeovers, then what only a real control plane can suffer.
 */
import { readFileSync } from "node:fs";
import { Lab, type LabOptions } from "../../lab/lab";
import { scenarios } from "../../lab/scenarios/built-in";
import { runScenario } from "../../lab/scenarios/run";
import { missingForControlPlane, startControlPlane, type ControlPlane } from "../../tools/test-assets/control-plane";
import { bundlePath } from "../helpers/bundle";

const missing = missingForControlPlane();
if (missing !== undefined) console.warn(`skipped: ${missing}`);
const blockMs = Number(process.env.TOG_BLOCK_MS ?? "2000");

(missing === undefined ? describe : describe.skip)("pods on a real API server", () => {
  let plane: ControlPlane;
  let options: LabOptions;
  // A new one for each test: leases and watermarks of the last baker are not there.
  beforeEach(async () => {
    plane = await startControlPlane();
    const controlPlane = { ...plane, ca: readFileSync(plane.caFile, "utf8") };
    options = { blockMs, tog: await bundlePath(), controlPlane: () => Promise.resolve(controlPlane) };
  }, 120_000);
  afterEach(() => plane?.stop());

  test.each(["planned-switchover", "pod-kill", "split-brain", "nonce-switchover", "watermark-lost"])(
    "%s",
    async (name) => {
      const scenario = scenarios[name];
      if (!scenario) throw new Error(`no scenario ${name}`);
      const receipt = await runScenario(scenario, options);
      process.stdout.write(
        `  ${name}: ${receipt.from} -> ${receipt.to}, ${receipt.missedLevels} levels missed, ${receipt.failoverSeconds} s at ${blockMs} ms, longest stall ${receipt.longestStallMs} ms\n`,
      );
      expect(receipt).toMatchObject({ ok: true, problems: [], violations: [] });
    },
  );

  /** A baker in operation, something done to the control plane for `ms`, and a baker in operation again. */
  const suffers = async (begin: () => Promise<void>, end: () => Promise<void>, ms: number): Promise<void> => {
    const lab = await Lab.start({ ...options, flag: true });
    try {
      await lab.ready(120_000);
      const before = lab.lease?.epoch ?? 0;
      const began = Date.now();
      await begin();
      await lab.sleep(ms);
      await end();
      await lab.until("a new tenure", () => (lab.lease?.epoch ?? 0) > before, 60_000);
      await lab.until("it signs again", () => lab.signatures.some(({ atMs }) => atMs > began + ms), 60_000);
      // Nothing was signed without the API: at the latest the lease's end stopped it.
      const silence = lab.signatures.filter(({ atMs }) => atMs > began + 7000 * lab.scale && atMs < began + ms);
      expect(silence).toEqual([]);
      expect(lab.verdict()).toEqual([]);
      expect(lab.trace.overlapMs("octez-baker", 0)).toBe(0);
    } finally {
      await lab.stop();
    }
  };
  test("the API server killed and started again", () =>
    suffers(
      () => plane.signal("kube-apiserver", "SIGKILL"),
      () => plane.start("kube-apiserver"),
      12_000,
    ));
  test("etcd paused", () =>
    suffers(
      () => plane.signal("etcd", "SIGSTOP"),
      () => plane.signal("etcd", "SIGCONT"),
      12_000,
    ));
});
