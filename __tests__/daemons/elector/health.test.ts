import type { GateStatus, NonceStatus, SidecarStatus, SupervisorStatus } from "../../../contract/status";
import { eligibility, recents, troubles } from "../../../daemons/elector/health";

const sidecar = { ready: true } as SidecarStatus;
const supervisor = { crashLooping: false } as SupervisorStatus;
const gate = { signersAnswering: 1, keys: [{ state: "open", reason: "raised" }] } as GateStatus;
const refused = (reason: string) => ({ ...gate, keys: [...gate.keys, { state: "refused", reason }] }) as GateStatus;
test.each([
  [{ sidecar, supervisor, gate, reconciled: true }, "eligible"],
  [{ sidecar: null, supervisor, gate, reconciled: true }, "sidecar-silent"],
  [{ sidecar: { ...sidecar, ready: false }, supervisor, gate, reconciled: true }, "node-not-ready"],
  [{ sidecar, supervisor: null, gate, reconciled: true }, "supervisor-silent"],
  [{ sidecar, supervisor: { ...supervisor, crashLooping: true }, gate, reconciled: true }, "daemon-crash-looping"],
  [
    { sidecar, supervisor: { ...supervisor, clientFolderProblem: "ENOSPC" }, gate, reconciled: true },
    "client-folder-not-written",
  ],
  [{ sidecar, supervisor, gate: null, reconciled: true }, "gate-silent"],
  [{ sidecar, supervisor, gate: { ...gate, signersAnswering: 0 }, reconciled: true }, "no-signer-answers"],
  [{ sidecar, supervisor, gate, reconciled: false }, "nonces-not-reconciled"],
  [{ sidecar, supervisor, gate: refused("memory-write"), reconciled: true }, "key-refused-memory-write"],
  [{ sidecar, supervisor, gate: refused("internal"), reconciled: true }, "key-refused-internal"],
  [
    { sidecar, supervisor, gate: { ...gate, keys: [], memoryProblem: "ENOSPC" }, reconciled: true },
    "gate-memory-not-written",
  ],
  [{ sidecar, supervisor, gate: { ...gate, memoryProblem: null }, reconciled: true }, "eligible"],
  // The same for every pod.
  [{ sidecar, supervisor, gate: refused("watermark-unreadable"), reconciled: true }, "eligible"],
])("eligibility %#: %s", (facts, reason) => {
  expect(eligibility(facts)).toEqual({ eligible: reason === "eligible", reason });
});

test("troubles are what each container complains of, and nothing where all is well", () => {
  const well = {
    sidecar: { ready: true } as SidecarStatus,
    supervisor: { daemons: [{ name: "octez-baker", state: "running", lastExit: null }] } as unknown as SupervisorStatus,
    gate: {
      keys: [{ address: "tz1a", state: "open", reason: "raised" }],
      signers: [{ name: "home1", zone: "b", answers: true, reason: "" }],
    } as GateStatus,
    exposer: { peers: [{ pod: "alice-as-1", connected: true }], reason: "" } as NonceStatus,
    importer: { reason: "" } as NonceStatus,
  };
  expect(troubles(well)).toEqual([]);
  expect(troubles({ ...well, exposer: { ...well.exposer, reason: "acknowledged" } })).toEqual([]);
  const dal = (reason: string) => ({ ready: true, dal: { well: reason === "", reason } }) as SidecarStatus;
  expect(troubles({ ...well, sidecar: dal("") })).toEqual([]);
  expect(troubles({ ...well, sidecar: dal("dal-behind: 9") })).toEqual(["DAL node: dal-behind: 9"]);
  expect(
    troubles({
      sidecar: { ready: false, reason: "head-old: 300 s" } as SidecarStatus,
      supervisor: {
        daemons: [{ name: "octez-baker", state: "backoff", lastExit: "SIGKILL" }],
        diskUsedRatio: 0.98,
        keysLeftOut: ["tz4b"],
      } as unknown as SupervisorStatus,
      gate: {
        keys: [{ address: "tz1a", state: "lost", reason: "watermark-missing" }],
        signers: [{ name: "home1", zone: "b", answers: false, reason: "timeout" }],
      } as GateStatus,
      exposer: {
        peers: [{ pod: "alice-as-1", connected: false }],
        reason: "the content is on no other member",
      } as NonceStatus,
      importer: null,
    }),
  ).toEqual([
    "nonce-importer does not answer",
    "node: head-old: 300 s",
    "disk: 98 % used",
    "octez-baker runs without tz4b: no signer has shown its public key",
    "octez-baker ended (SIGKILL) and is restarted",
    "key tz1a is lost: watermark-missing",
    "signer home1 through b: timeout",
    "nonces: alice-as-1 is not connected",
    "nonces: the content is on no other member",
  ]);
  expect(troubles({ sidecar: null, supervisor: null, gate: null, exposer: null, importer: null })).toHaveLength(5);
});

test("a key whose signers do not answer, while those of another key do, is a trouble", () => {
  const said = (key: object, signersAnswering = 1) =>
    troubles({
      ...{ sidecar, supervisor: { daemons: [] } as unknown as SupervisorStatus, exposer: null, importer: null },
      gate: { keys: [{ address: "tz4a", state: "open", reason: "", ...key }], signersAnswering, signers: [] } as never,
    }).filter((text) => text.startsWith("no signer"));
  expect(said({ signers: 1, signersAnswering: 0 })).toEqual(["no signer that holds tz4a answers"]);
  expect(said({ signers: 1, signersAnswering: 0 }, 0)).toEqual([]);
  for (const key of [{ signers: 1, signersAnswering: 1 }, { signers: 0, signersAnswering: 0 }, {}])
    expect(said(key)).toEqual([]);
});

test("what is over comes from all containers, in the order in which it happened, and is bounded", () => {
  const at = (minute: number, text: string) => `2026-11-25T12:${String(minute).padStart(2, "0")}:00Z ${text}`;
  const facts = {
    sidecar: { recent: [at(3, "fork")] } as SidecarStatus,
    supervisor: { recent: [at(1, "crash")] } as SupervisorStatus,
    exposer: null,
    importer: { recent: [at(2, "quarantine")] } as NonceStatus,
  };
  expect(recents(facts, [at(0, "api")])).toEqual([at(0, "api"), at(1, "crash"), at(2, "quarantine"), at(3, "fork")]);
  const many = Array.from({ length: 20 }, (_, minute) => at(minute + 10, "x".repeat(400)));
  expect(recents(facts, many).map((text) => text.length)).toEqual(Array<number>(8).fill(300));
});
