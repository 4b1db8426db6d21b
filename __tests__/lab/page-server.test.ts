import { signerOf } from "../../lab/page-server";

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
