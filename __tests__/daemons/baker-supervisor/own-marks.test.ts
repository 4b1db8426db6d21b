import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { highestSigned } from "../../../daemons/baker-supervisor/own-marks";
import { recordedText } from "../../helpers/octez-recordings";

const chain = "NetXdQprcVkpaWU";
const file = "NetXdQprcVkpa_highwatermarks";
const marks = (blocks: number[], attestations: number[]): string => {
  const of = (levels: number[]) => levels.map((level) => ({ delegate: "tz1", highwatermark: { round: 0, level } }));
  return JSON.stringify({ blocks: of(blocks), preattestations: [], attestations: of(attestations) });
};
let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), "own-marks-"))));
afterEach(() => rmSync(folder, { recursive: true }));
const write = (name: string, text: string) => writeFileSync(join(folder, name), text);

test("it is the highest level of any kind and key, of this chain alone", async () => {
  write(file, marks([100, 104], [103]));
  write("NetXnHfVqm9ie_highwatermarks", marks([900], []));
  expect(await highestSigned(folder, chain)).toBe(104);
});
test("nothing is known without the file, without an entry, or where it cannot be read as a whole", async () => {
  expect(await highestSigned(folder, chain)).toBeNull();
  write(file, marks([], []));
  expect(await highestSigned(folder, chain)).toBeNull();
  write(file, marks([100], []).slice(0, -3));
  expect(await highestSigned(folder, chain)).toBeNull();
  write(file, '{"blocks":[{"delegate":"tz1","highwatermark":{"level":5,"round":0}}]}');
  expect(await highestSigned(folder, chain)).toBeNull();
  expect(await highestSigned(join(folder, "none"), chain)).toBeNull();
});
test("the file of octez-baker 25.1, as it was recorded", async () => {
  write(file, recordedText(`client-dir/${file}`));
  expect(await highestSigned(folder, chain)).toBe(181);
});
