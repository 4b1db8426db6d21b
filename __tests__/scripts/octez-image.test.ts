/** Octez' own image: which one, and what cosign says of it. The cosign here is a program that answers as it does. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { chooseOctezImage, octezSigningKey, verifyOctezImage } from "../../scripts/octez-image";

const digest = (digit: string) => `sha256:${digit.repeat(64)}`;
const published = "docker.io/tezos/tezos-bare:octez-v25.1";
const folder = mkdtempSync(join(tmpdir(), "tog-cosign-"));
const path = process.env.PATH;
afterEach(() => {
  process.env.PATH = path;
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** One signature for each digest, in the form of `cosign verify --output json`. */
const signatures = (...digests: string[]) =>
  JSON.stringify(
    digests.map((one) => ({
      critical: {
        identity: { "docker-reference": "index.docker.io/tezos/tezos-bare" },
        image: { "docker-manifest-digest": one },
        type: "cosign container image signature",
      },
      optional: null,
    })),
  );
function cosign(script: string): void {
  writeFileSync(join(folder, "cosign"), `#!/bin/sh\necho "$@" >${folder}/asked\n${script}\n`);
  chmodSync(join(folder, "cosign"), 0o755);
  process.env.PATH = `${folder}${delimiter}${path}`;
}
const prints = (...digests: string[]) => `cat <<'END'\n${signatures(...digests)}\nEND`;

test("an image that cosign verifies has the digest of the signature from then on", () => {
  cosign(prints(digest("a"), digest("a")));
  expect(verifyOctezImage(published)).toEqual({
    image: `${published}@${digest("a")}`,
    says: `${published}@${digest("a")}: its signature was verified with ${octezSigningKey}`,
  });
  expect(readFileSync(join(folder, "asked"), "utf8")).toBe(
    `verify --key ${octezSigningKey} --output json ${published}\n`,
  );
  expect(verifyOctezImage(`${published}@${digest("a")}`, "octez.pub").image).toBe(`${published}@${digest("a")}`);
});
test("no signature, one of other bytes and several of different bytes end the build", () => {
  cosign("echo 'Error: no signatures found' >&2; exit 10");
  expect(() => verifyOctezImage(published)).toThrow(/must have a signature that cosign verifies .*no signatures found/);
  cosign(prints(digest("b")));
  expect(() => verifyOctezImage(`${published}@${digest("a")}`)).toThrow(`got a signature of ${digest("b")}`);
  cosign(prints(digest("a"), digest("b")));
  expect(() => verifyOctezImage(published)).toThrow("got the digests");
  cosign("echo '[]'");
  expect(() => verifyOctezImage(published)).toThrow("got the digests");
});
test("without cosign, and for an image of somebody else, nothing is claimed", () => {
  process.env.PATH = "/nonexistent";
  expect(verifyOctezImage(published)).toEqual({
    image: published,
    says: `${published}: not verified: cosign is not installed, and tomorrow its tag may name other bytes`,
  });
  cosign("exit 1");
  const own = `example.org/octez@${digest("c")}`;
  expect(verifyOctezImage(own)).toEqual({ image: own, says: expect.stringContaining("none of Octez' own") as string });
});
test("the configuration's image is taken, unless it is of another release", () => {
  expect(chooseOctezImage("v25.1")).toBe(published);
  for (const given of [`${published}@${digest("a")}`, `example.org/octez@${digest("c")}`])
    expect(chooseOctezImage("v25.1", given)).toBe(given);
  expect(chooseOctezImage("v25.1", `docker.io/tezos/tezos-bare:octez-v25.0@${digest("a")}`)).toBe(published);
});
