/**
 * The image of Octez from which ours is built and which the pods run: checked against the signature of Octez' makers
 * where cosign is installed, and named by the digest that was checked from then on.
 */
import { spawnSync } from "node:child_process";
import { octezImage } from "../contract/images";

/** Where Octez' documentation says that the public half of the signing key is. */
export const octezSigningKey = "https://keyserver.nomadic-labs.com/cosign/nl-prod-docker-sign-key.pem";

export interface OctezImage {
  /** With its digest where it has been verified or was given with one. */
  readonly image: string;
  /** What was checked, for a person. */
  readonly says: string;
}

/** @param given the configuration's `images.octez`; one of another release was written for that release */
export function chooseOctezImage(version: string, given?: string): string {
  const release = /:octez-(v[^@]+)/.exec(given ?? "")?.[1];
  return given === undefined || (release !== undefined && release !== version) ? octezImage(version) : given;
}

const digestOf = (image: string): string | undefined => /@(sha256:[0-9a-f]{64})$/.exec(image)?.[1];

/** Digests that cosign says it has verified. @throws Error for output that is not cosign's */
function verifiedDigests(output: string): string[] {
  const signatures = JSON.parse(output) as { critical: { image: Record<string, string> } }[];
  return [...new Set(signatures.map(({ critical }) => String(critical.image["docker-manifest-digest"])))];
}

/** @throws Error where cosign finds no valid signature, or one of other bytes than the given digest's */
export function verifyOctezImage(image: string, key = octezSigningKey): OctezImage {
  const not = (why: string): OctezImage => ({ image, says: `${image}: not verified: ${why}` });
  if (!/^docker\.io\/tezos\//.test(image)) return not("it is none of Octez' own repository, docker.io/tezos");
  const { error, status, stdout, stderr } = spawnSync("cosign", ["verify", "--key", key, "--output", "json", image], {
    encoding: "utf8",
    env: process.env,
    timeout: 120_000,
  });
  if ((error as NodeJS.ErrnoException | undefined)?.code === "ENOENT")
    return not(`cosign is not installed${digestOf(image) ? "" : ", and tomorrow its tag may name other bytes"}`);
  const refused = (got: string): Error =>
    new Error(`${image} must have a signature that cosign verifies with ${key}; got ${got}. --no-verify does without`);
  if (error || status !== 0) throw refused(error?.message ?? stderr.trim().split("\n").at(-1) ?? `status ${status}`);
  const digests = verifiedDigests(stdout);
  const [digest = ""] = digests;
  if (digests.length !== 1 || !/^sha256:[0-9a-f]{64}$/.test(digest)) throw refused(`the digests ${digests.join(", ")}`);
  const given = digestOf(image);
  if (given !== undefined && given !== digest) throw refused(`a signature of ${digest}`);
  const pinned = given === undefined ? `${image}@${digest}` : image;
  return { image: pinned, says: `${pinned}: its signature was verified with ${key}` };
}
