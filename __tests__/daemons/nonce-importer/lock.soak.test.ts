/**
 * The long variants: NONCE_SOAK_SECONDS of writers on both sides (default 600) and NONCE_SOAK_KILLS kills (default
 * 1,000).
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { interplay, killWriter, python } from "../../helpers/nonce-writers";

const seconds = Number(process.env.NONCE_SOAK_SECONDS ?? 600);
const kills = Number(process.env.NONCE_SOAK_KILLS ?? 1000);
const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
jest.setTimeout((seconds + 60 + kills) * 1000);

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), "tog-lock-"))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

(python ? test : test.skip)(`writers on both sides for ${seconds} s lose no update`, async () => {
  const result = await interplay(folder, seconds);
  process.stdout.write(`interplay for ${seconds} s: ${JSON.stringify(result)}\n`);
  expect(result).toMatchObject({ lostOfBaker: 0, lostOfImporter: 0 });
  expect(result.p99HoldMs).toBeLessThan(100);
});

test(`${kills} kills at random moments leave the file complete (SEED=${seed})`, async () => {
  const random = (
    (state: number) => () =>
      (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32
  )(seed);
  const result = await killWriter(folder, kills, random);
  process.stdout.write(`kills: ${JSON.stringify(result)}\n`);
  expect(result).toMatchObject({ kills, torn: 0, leftovers: 0 });
  // Both outcomes occurred: the moments covered the write.
  expect(Math.min(result.old, result.new)).toBeGreaterThan(0);
});
