/**
 * No secret in any message: a marker stands in every secret and in every kind of mistake, and all that the commands say
 * is searched for it.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { requireSecrets, resolveConfiguration } from "../../configuration/load";
import { handedOf, handedOn, parseRequest } from "../../scripts/cdktf";
import { opensshKey } from "../helpers/openssh-key";
import { smallTfvars } from "../helpers/project-folder";

const marker = "MARKERhunter2correcthorsebatterystaple";
const delegate = "tz1Qi1VXJsKxxbB98TbZHcp2K6USAcTRYjD5";
const folders: string[] = [];
afterAll(() => folders.forEach((folder) => rmSync(folder, { recursive: true })));
function folderOf(files: Record<string, string>): string {
  const folder = mkdtempSync(join(tmpdir(), "tog-secrets-"));
  folders.push(folder);
  for (const [name, content] of Object.entries({ "terraform.tfvars": smallTfvars, ...files }))
    writeFileSync(join(folder, name), content);
  return folder;
}

/** What the commands say about a folder, options and environment; "" where they are content. */
async function words(
  files: Record<string, string>,
  argv: string[] = [],
  environment: Record<string, string> = {},
): Promise<string> {
  try {
    const handed = handedOf(parseRequest(["synth", ...argv]), environment);
    requireSecrets(await resolveConfiguration({ folder: folderOf(files), handed }));
    return "";
  } catch (error) {
    return String(error);
  }
}

const file = (name: string, content: string): [Record<string, string>] => [{ [name]: content }];
const hcl = (content: string) => file("secrets.auto.tfvars", content);
const json = (content: string) => file("secrets.auto.tfvars.json", content);
test.each<[string, [Record<string, string>, string[]?, Record<string, string>?], RegExp]>([
  ["broken JSON", json(`{"secrets": {"smtp_password": "${marker}" "slack_webhook_url": "x"}}`), /line 1, column \d+/],
  ["JSON with a stray text", json(`{"secrets": ${marker}}`), /not readable as JSON/],
  ["a key twice in JSON", json(`{"secrets": {"${marker}": "1", "${marker}": "2"}}`), /written twice/],
  ["broken HCL", hcl(`secrets = { smtp_password = "${marker}\n`), /not readable as HCL/],
  ["a HCL attribute twice", hcl(`"${marker}" = 1\n${marker} = 1\n${marker} = 2\n`), /not readable as HCL/],
  ["a text without quotes", hcl(`secrets = { smtp_password = ${marker} }\n`), /without quotes/],
  ["an expression", hcl(`secrets = { smtp_password = "x\${lower("${marker}")}" }\n`), /an expression/],
  ["the secret as the name of a key", hcl(`secrets = { "${marker}" = "x" }\n`), /a key that does not exist here/],
  ["the secret as a baker's name", hcl(`secrets = { hot_keys = { "${marker}" = "x" } }\n`), /something else/],
  ["the secret as an address", hcl(`secrets = { hot_keys = { alice = { "${marker}" = "x" } } }\n`), /address|missing/],
  ["the whole variable as a text", hcl(`secrets = "${marker}"\n`), /something else/],
  ["a list", hcl(`secrets = ["${marker}"]\n`), /something else/],
  ["a secret at the top", file("more.auto.tfvars", `smtp_password = "${marker}"\n`), /a key that does not exist/],
  [
    "a secret at the top without quotes",
    file("more.auto.tfvars", `smtp_password = ${marker}\n`),
    /a key that does not exist/,
  ],
  [
    "a secret in a baker",
    file("more.auto.tfvars", `bakers = { alice = { delegate = "${delegate}", password = "${marker}" } }\n`),
    /not shown/,
  ],
  ["an option without =", [{}, ["--var", marker]], /a text without =/],
  ["a word", [{}, [marker]], /the stacks are platform and baker/],
  ["an option that does not parse", [{}, ["--var", `secrets={smtp_password="${marker}`]], /not readable as a value/],
  ["an option of the wrong type", [{}, ["--var", `secrets=["${marker}"]`]], /something else/],
  ["the environment", [{}, [], { TF_VAR_secrets: `{ smtp_password = ${marker}` }], /not readable as a value/],
  [
    "another secret than the needed",
    hcl(`secrets = { smtp_password = "${marker}" }\n`),
    /hot_keys.*\n *found: nothing/,
  ],
  [
    "a secret of a baker that is not there",
    hcl(`secrets = { authentication_keys = { bob = "${marker}" } }\n`),
    /authentication_keys\.bob/,
  ],
])("%s", async (_mistake, given, expected) => {
  const said = await words(...given);
  expect(said).toMatch(expected);
  expect(said.toLowerCase()).not.toContain(marker.toLowerCase());
});

/** What is said about the host key in a JSON file of secrets, beside this public half. */
const hostKey = (key: string, publicKey?: string, more = ""): Promise<string> =>
  words({
    "secrets.auto.tfvars.json": JSON.stringify({
      secrets: { signer_link_host_key: key, hot_keys: { alice: { [delegate]: `unencrypted:${marker}` } } },
    }),
    "link.auto.tfvars": `signer_link = { ${publicKey === undefined ? "" : `host_public_key = "${publicKey}", `}${more} }\n`,
  });

test("a host key that sshd can read, and its public half, pass", async () => {
  const { privateKey, publicKey } = opensshKey();
  expect(await hostKey(privateKey, publicKey)).toBe("");
  expect(await hostKey(privateKey, publicKey.replace(" signer-link", ""))).toBe("");
  expect(await hostKey(privateKey.replaceAll("\n", "\r\n").trim())).toBe("");
  // Nobody uses it then.
  expect(await hostKey("anything", publicKey, 'host_key_secret = "mine"')).toBe("");
});

test.each<[string, string, RegExp]>([
  ["a path", ".secrets/signer-link", /found: a path \(not shown\)/],
  ["a text", marker, /found: a text that is no private key \(not shown\)/],
  ["its public half", opensshKey().publicKey, /found: a text that is no private key/],
  ["PEM", `-----BEGIN RSA PRIVATE KEY-----\n${marker}\n`, /found: a key in another form than OpenSSH's/],
  ["an encrypted key", opensshKey({ cipher: "aes256-ctr" }).privateKey, /found: an encrypted key \(not shown\)/],
  ["another type", opensshKey({ type: "ssh-ed448" }).privateKey, /found: .* of another type than Ed25519/],
  ["a key without its end", opensshKey().privateKey.slice(0, 200), /found: .* cut off/],
  ["a key without its middle", opensshKey().privateKey.replace(/\n.{70}(?=\n.*\n-----END)/, ""), /found: .* cut off/],
  ["a key with a text in it", opensshKey().privateKey.replace("\n", `\n${marker}:`), /found: .* cut off/],
])("as the host key %s is refused, and not shown", async (_name, key, expected) => {
  const said = await hostKey(key);
  expect(said).toMatch(expected);
  expect(said).toMatch(/secrets\.signer_link_host_key[^]*write: the text of the key's file itself/);
  for (const line of key.split("\n").filter((one) => !one.startsWith("-----") && one !== ""))
    expect(said.replace(".secrets/signer-link makes", "")).not.toContain(line);
});

test("a host key that is not the partner of the configured public key is refused, with the right public key", async () => {
  const [mine, other] = [opensshKey(), opensshKey()];
  const said = await hostKey(mine.privateKey, other.publicKey);
  expect(said).toContain("which is not the public half of secrets.signer_link_host_key");
  expect(said).toContain(`write: "${mine.publicKey}"; or give the private key`);
  expect(said).not.toContain(mine.privateKey.split("\n")[2]);
});

test("given secrets are enough for every way of giving them, and none reaches what synth's process is told", async () => {
  const text = `{ hot_keys = { alice = { "${delegate}" = "unencrypted:${marker}" } } }`;
  expect(await words({ "secrets.auto.tfvars": `secrets = ${text}\n` })).toBe("");
  expect(await words({}, ["--var", `secrets=${text}`])).toBe("");
  expect(await words({}, [], { TF_VAR_secrets: text })).toBe("");
  const request = parseRequest(["deploy", "--var", "name=x", "--var", `secrets=${text}`]);
  const handed = handedOn(handedOf(request, { TF_VAR_secrets: text }), ["/t/0.json", "/t/1.json"], {
    smtp_password: 5,
  });
  expect(handed).toEqual({
    secretRevisions: { smtp_password: 5 },
    environment: {},
    options: [{ var: "name=x" }, { varFile: "/t/1.json" }],
  });
});

const root = resolve(__dirname, "../..");
const everyFile = (folder: string): string[] =>
  readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? everyFile(path) : [path];
  });
test("each command as a process: a missing secret ends it, a given one is in no output and in no file", () => {
  const run = (script: string, files: Record<string, string>, ...args: string[]) => {
    const folder = folderOf(files);
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      ["--import", pathToFileURL(require.resolve("tsx")).href, join(root, script), ...args],
      { cwd: folder, encoding: "utf8", env: { PATH: process.env.PATH, HOME: folder, CHECKPOINT_DISABLE: "1" } },
    );
    return { status, said: stdout + stderr, folder };
  };
  const secrets = `secrets = { hot_keys = { alice = { "${delegate}" = "unencrypted:${marker}" } } }\n`;
  const commands: [string, ...string[]][] = [["scripts/summary.ts"], ["scripts/cdktf.ts", "deploy", "platform"]];
  for (const [script, ...args] of commands) {
    const missing = run(script, {}, ...args);
    expect(missing).toMatchObject({ status: 1, said: expect.stringMatching(/secrets\.hot_keys\.alice/) as string });
  }
  for (const script of ["scripts/summary.ts", "scripts/manifests.ts"]) {
    const { status, said, folder } = run(script, { "secrets.auto.tfvars": secrets });
    expect([script, status, said.includes(marker)]).toEqual([script, 0, false]);
    const leaks = everyFile(folder).filter((path) => readFileSync(path, "utf8").includes(marker));
    expect(leaks.map((path) => path.slice(folder.length + 1))).toEqual(["secrets.auto.tfvars"]);
  }
});
