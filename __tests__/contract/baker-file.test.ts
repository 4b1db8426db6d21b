/** What a baker's file must say of itself, before a daemon starts with it. */
import { bakerFileSchema, type BakerFile } from "../../contract/baker-file";
import { solidBakerFile } from "../helpers/baker-file";

const messages = (change: (file: BakerFile) => unknown): string[] => {
  const file = structuredClone(solidBakerFile());
  change(file);
  return (bakerFileSchema.safeParse(file).error?.issues ?? []).map(
    ({ path, message }) => `${path.join(".")}: ${message}`,
  );
};

test("a file as the constructs write it is accepted", () => {
  expect(messages(() => undefined)).toEqual([]);
});
test.each<[string, (file: BakerFile) => unknown, RegExp]>([
  [
    "the watermark of another address",
    (file) => (file.keys[0]!.watermark = `wm-${"0".repeat(40)}`),
    /^keys\.0\.watermark: the watermark of tz\w+ is wm-/,
  ],
  ["two signers of one name", (file) => file.signers.push(file.signers[0]!), /^signers: each once, got \w+ twice/],
  ["two daemons of one name", (file) => file.daemons.push(file.daemons[0]!), /^daemons: each once/],
  [
    "a chain id with a wrong checksum",
    (file) => (file.network.chainId = "NetXsqzbfFenSTT"),
    /^network\.chainId: must be a chain id .* checksum/,
  ],
])("%s is refused", (_what, change, message) => {
  expect(messages(change)).toEqual([expect.stringMatching(message)]);
});
