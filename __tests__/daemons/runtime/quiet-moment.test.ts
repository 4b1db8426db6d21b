import { quietMoment, type QuietFacts } from "../../../daemons/runtime/quiet-moment";

const quiet: QuietFacts = {
  canBake: true,
  nodeReady: true,
  fellSilent: false,
  leftSeconds: 30,
  head: { level: 100, ageSeconds: 2 },
  headAtFirst: { level: 100, ageSeconds: 1 },
  rights: [],
  keys: [{ highestLevel: 100, lastAttestation: { level: 100 } }],
  inFlight: 0,
  blockSeconds: 6,
  noncesMissing: 0,
};

test.each<[string, Partial<QuietFacts>, boolean, string]>([
  ["our attestation is out and nothing is due", {}, true, "attested"],
  ["a node that is not ready gives nothing to wait for", { nodeReady: false, rights: null }, true, "node-not-ready"],
  ["a right at head + 1", { rights: [101] }, false, "baking-right"],
  ["a right at head + 2", { rights: [102] }, false, "baking-right"],
  ["a right at head + 1 that comes with its attestation", { rights: [101], leftSeconds: 7 }, false, "baking-right"],
  ["a right at head + 1 whose attestation would come too late", { rights: [101], leftSeconds: 6 }, true, "attested"],
  ["a right at head + 2 that is the successor's", { rights: [102], leftSeconds: 10 }, true, "attested"],
  [
    "a right at head + 1 of a block that is late",
    { rights: [101], leftSeconds: 4, head: { level: 100, ageSeconds: 20 } },
    false,
    "baking-right",
  ],
  [
    "a wait that began too late for a successor to run before the next block",
    { headAtFirst: { level: 100, ageSeconds: 2.5 }, head: { level: 100, ageSeconds: 2.6 } },
    false,
    "next-block-near",
  ],
  [
    "a wait that began too late at a level of which we have no slot",
    { keys: [], headAtFirst: { level: 100, ageSeconds: 3.5 }, head: { level: 100, ageSeconds: 3.5 } },
    false,
    "next-block-near",
  ],
  [
    "an attestation that went out late, of a block that was waited for",
    { headAtFirst: { level: 99, ageSeconds: 5 }, head: { level: 100, ageSeconds: 3 } },
    true,
    "attested",
  ],
  [
    "a next block that would come after the end of the wait",
    { headAtFirst: { level: 100, ageSeconds: 3 }, head: { level: 100, ageSeconds: 3 }, leftSeconds: 5 },
    true,
    "attested",
  ],
  [
    "a chain that stands still",
    { headAtFirst: { level: 100, ageSeconds: 17 }, head: { level: 100, ageSeconds: 18 } },
    true,
    "attested",
  ],
  [
    "a sidecar that has just fallen silent",
    { nodeReady: false, head: null, fellSilent: true },
    false,
    "sidecar-fell-silent",
  ],
  [
    "a silent sidecar of a master that cannot bake",
    { nodeReady: false, head: null, fellSilent: true, canBake: false },
    true,
    "node-not-ready",
  ],
  ["a mark whose signature the gate has not given yet", { inFlight: 1 }, false, "signature-under-way"],
  ["unknown rights", { rights: null }, false, "rights-unknown"],
  [
    "a signed block that is not the head yet",
    { keys: [{ highestLevel: 101, lastAttestation: { level: 100 } }] },
    false,
    "signed-block-unseen",
  ],
  [
    "an attestation that may still come",
    { keys: [{ highestLevel: 99, lastAttestation: { level: 99 } }] },
    false,
    "attestation-not-out",
  ],
  [
    "no attestation half a block later",
    { keys: [], head: { level: 100, ageSeconds: 3 } },
    true,
    "no-attestation-at-this-level",
  ],
  [
    "a right that a master which is behind or has no signer cannot use",
    { canBake: false, rights: [101] },
    true,
    "cannot-bake",
  ],
  ["missing nonces of a master that cannot bake", { canBake: false, noncesMissing: 1 }, false, "nonces-missing"],
  ["missing nonces", { noncesMissing: 1 }, false, "nonces-missing"],
])("%s", (_title, facts, ok, reason) => {
  expect(quietMoment({ ...quiet, ...facts })).toEqual({ ok, reason });
});
