/** What a signer's answer means, with the texts that were recorded of octez-signer 25.1. */
import { judge, signerWords } from "../../../daemons/signing-gate/signer-answer";
import { signBytes, testKey } from "../../../lab/doubles/signing-keys";
import { request } from "../../helpers/gates";

const key = testKey("tz1", "baker");
const bytes = request("attestation", 900_000, 1);
const failure = (msg: string) => JSON.stringify([{ kind: "temporary", id: "failure", msg }]) + "\n";
const answered = (status: number, body: string, of = bytes) =>
  judge({ address: key.address, bytes: of, digest: new Uint8Array(32) }, { ok: true, status, body }, undefined);

test.each([
  "attestation level 900000 below high watermark 900001",
  "attestation level 900000 and round 1 not above high watermark (900000,2)",
  "attestation level 900000 and round 1 already signed with different data",
])("a refusal by octez-signer's own watermark has signed nothing: %s", (msg) => {
  expect(answered(500, failure(msg))).toEqual({
    ...{ ok: false, reason: "signer-watermark", detail: `HTTP 500: ${msg}` },
    ...{ mayHaveSigned: false, bySignerWatermark: true },
  });
});

test.each([
  ["Signatory", failure("watermark validation failed")],
  ["TezSign", '{"error":"stale level/round"}'],
])("so has a refusal by the watermark of %s, with status 409 and these words only", (_signer, body) => {
  expect(answered(409, body)).toMatchObject({
    ...{ reason: "signer-watermark", mayHaveSigned: false, bySignerWatermark: true },
  });
  expect(answered(500, body)).toMatchObject({ reason: "signer-error", mayHaveSigned: true });
  expect(answered(409, '{"error":"something else"}')).toEqual({
    ...{ ok: false, reason: "signer-refused", mayHaveSigned: false, detail: expect.any(String) as string },
  });
});
test.each([
  ["a locked key", 403, '{"error":"key locked"}', "signer-refused", false],
  ["an unknown key", 404, '{"error":"key not found"}', "signer-refused", false],
  ["bytes that it does not read", 400, '{"error":"bad payload"}', "signer-refused", false],
  ["a gadget that went away", 500, '{"error":"broker stopped"}', "signer-error", true],
])("TezSign answers for %s, and another signer is asked", (_what, status, body, reason, mayHaveSigned) => {
  const verdict = answered(status, body);
  expect(verdict).toMatchObject({ reason, mayHaveSigned });
  expect(verdict).not.toHaveProperty("bySignerWatermark");
});

test("so has one of a block and one of a preattestation", () => {
  const block = request("block", 900_000);
  expect(answered(500, failure("block level 900000 below high watermark 900001"), block)).toMatchObject({
    mayHaveSigned: false,
  });
  const vote = request("preattestation", 900_000);
  const msg = "preattestation level 900000 and round 0 already signed with different data";
  expect(answered(500, failure(msg), vote)).toMatchObject({ mayHaveSigned: false });
});

test.each([
  ["another level", 500, failure("attestation level 900001 below high watermark 900002")],
  ["another kind", 500, failure("block level 900000 below high watermark 900001")],
  ["another round", 500, failure("attestation level 900000 and round 0 already signed with different data")],
  ["more words", 500, failure("attestation level 900000 below high watermark 900001, after signing it")],
  ["words before it", 500, failure("oops: attestation level 900000 below high watermark 900001")],
  ["no list of errors", 500, "attestation level 900000 below high watermark 900001"],
  ["another status", 502, failure("attestation level 900000 below high watermark 900001")],
  ["another refusal", 500, failure("magic byte 0x03 not allowed")],
  ["a locked Ledger", 500, failure("Ledger Application level error (get_authorized_key): Unregistered status code")],
  ["nothing", 500, ""],
])("whatever is not literally such a refusal may have signed: %s", (_what, status, body) => {
  expect(answered(status, body)).toMatchObject({ ok: false, reason: "signer-error", mayHaveSigned: true });
});

test("the signer's words are short, on one line, without escape sequences and without what may be a secret", () => {
  expect(signerWords(failure("Ledger is locked"))).toBe("Ledger is locked");
  expect(signerWords("plain text of a proxy\r\n")).toBe("plain text of a proxy");
  expect(signerWords(failure("a\u001b[2Jb\u0000c\u202ed\ne"))).toBe("a\\u001b[2Jb\\u0000c\\u202ed e");
  const words = signerWords(failure("x ".repeat(500)));
  expect(words).toHaveLength(200);
  expect(words).toMatch(/\.\.\.$/);
  const signature = signBytes(key, bytes);
  expect(signerWords(failure(`key ${key.secret} and ${signature} of ${key.address}`))).toBe(
    `key ... and ... of ${key.address}`,
  );
  expect(signerWords("")).toBe("");
});
