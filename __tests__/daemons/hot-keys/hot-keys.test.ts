/**
 * From a mounted secret to a signer that signs: the bundled program, the files, and the double that reads them as Octez
 * does.
 */
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { clientFiles } from "../../../daemons/hot-keys/client-files";
import { bundleDoubles } from "../../../lab/bundle";
import { testKey } from "../../../lab/doubles/signing-keys";
import { verifySignature } from "../../../tezos/keys";
import { bundlePath } from "../../helpers/bundle";
import { post, request } from "../../helpers/gates";
import { until } from "../../helpers/nonce-pods";

const folder = mkdtempSync(join(tmpdir(), "tog-hot-keys-"));
let signer: ChildProcess | undefined;
afterAll(async () => {
  if (signer?.exitCode === null && signer.signalCode === null) {
    signer.kill("SIGKILL");
    await once(signer, "exit");
  }
  rmSync(folder, { recursive: true, force: true });
});
const keys = [testKey("tz1", "hot"), testKey("tz4", "hot")];

let count = 0;
/** A mounted secret, as the kubelet lays it out, and an empty folder of the signer. */
function mounted(files: Record<string, string>): { from: string; to: string } {
  const root = join(folder, String(count++));
  const [from, to, data] = [join(root, "keys"), join(root, "signer"), join(root, "keys/..2026")];
  for (const path of [data, to]) mkdirSync(path, { recursive: true });
  symlinkSync("..2026", join(from, "..data"));
  for (const [name, text] of Object.entries(files)) {
    writeFileSync(join(data, name), text);
    symlinkSync(`..data/${name}`, join(from, name));
  }
  return { from, to };
}
const run = async (from: string, to: string) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [await bundlePath(), "hot-keys", from, to], {
    encoding: "utf8",
  });
  return { status, output: stdout + stderr };
};
const secrets = Object.fromEntries(keys.map(({ address, secret }) => [address, `unencrypted:${secret}\n`]));

test("octez-signer finds the keys and signs with them; they are for its user only, and no output shows them", async () => {
  const { from, to } = mounted(secrets);
  const { status, output } = await run(from, to);
  expect(output).toContain('"event":"written"');
  expect(status).toBe(0);
  for (const { secret } of keys) expect(output).not.toContain(secret);
  expect(readdirSync(to).sort()).toEqual(["public_key_hashs", "public_keys", "secret_keys"]);
  for (const name of readdirSync(to)) expect([name, statSync(join(to, name)).mode & 0o777]).toEqual([name, 0o600]);

  const host = `127.${100 + (process.pid % 100)}.7.${1 + ((process.pid >> 8) % 250)}`;
  const { doubles } = await bundleDoubles();
  const args = ["octez-signer", "--base-dir", to, "launch", "http", "signer", "--address", host, "--port", "6732"];
  signer = spawn(process.execPath, [doubles, ...args], { stdio: "ignore" });
  const answers = () =>
    fetch(`http://${host}:6732/authorized_keys`).then(
      ({ ok }) => ok,
      () => false,
    );
  await until("the signer answers", answers);
  for (const { address, publicKey } of keys) {
    const bytes = request("attestation", 1001);
    const { signature } = await post(`http://${host}:6732`, address, bytes);
    expect(verifySignature(publicKey, bytes, signature ?? "")).toBe(true);
  }
});

test("a second run writes the files anew, also over files that others could read", async () => {
  const { from, to } = mounted(secrets);
  writeFileSync(join(to, "secret_keys"), "[]");
  chmodSync(join(to, "secret_keys"), 0o644);
  expect((await run(from, to)).status).toBe(0);
  expect(statSync(join(to, "secret_keys")).mode & 0o777).toBe(0o600);
  expect(JSON.parse(readFileSync(join(to, "public_keys"), "utf8"))).toEqual(
    keys.map(({ address, publicKey }) => ({
      name: address,
      value: { locator: `unencrypted:${publicKey}`, key: publicKey },
    })),
  );
});

test("a key of another address ends the start, and the message names addresses only", async () => {
  const [first, second] = keys.map(({ address }) => address) as [string, string];
  const { from, to } = mounted({ [first]: `unencrypted:${keys[1]?.secret}` });
  const { status, output } = await run(from, to);
  expect(status).toBe(1);
  expect(output).toContain(`${first}: must be the key of this address, got the one of ${second}`);
  expect(output).not.toContain(keys[1]?.secret);
  expect(readdirSync(to)).toEqual([]);
});

test.each([
  ["an encrypted key", "encrypted:edesk1xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"],
  ["a public key", `unencrypted:${keys[0]?.publicKey}`],
  ["a key without its scheme", keys[0]?.secret ?? ""],
  ["nothing", ""],
])("%s is refused without being shown", (_what, text) => {
  const address = keys[0]?.address ?? "";
  expect(() => clientFiles(new Map([[address, text]]))).toThrow(
    new Error(`${address}: must be unencrypted: and an edsk, spsk, p2sk or BLsk key, got something else (not shown)`),
  );
});
test("no key at all is refused", () => {
  expect(() => clientFiles(new Map())).toThrow("there must be at least one key");
});
