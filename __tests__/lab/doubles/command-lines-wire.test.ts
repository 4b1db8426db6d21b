/**
 * The command lines that were recorded of Octez 25.1 and what the programs then wrote, replayed against the doubles as
 * processes: the same exit code and the same lines, but for times, hashes, levels, ports and what is listed here.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bundleDoubles } from "../../../lab/bundle";
import { Chain } from "../../../lab/chain/chain";
import { encodeVoteRequest } from "../../../lab/chain/encode";
import type { ArgumentSpec } from "../../../lab/doubles/common";
import { accuserOptions } from "../../../lab/doubles/octez-accuser";
import { bakerOptions, knownProtocols } from "../../../lab/doubles/octez-baker-options";
import { dalOptions } from "../../../lab/doubles/octez-dal-node";
import { clientOptions } from "../../../lab/doubles/octez-output";
import { signerOptions } from "../../../lab/doubles/octez-signer";
import { call } from "../../../lab/doubles/node-client";
import { OctezSigner } from "../../../lab/doubles/signer-server";
import { testKey } from "../../../lab/doubles/signing-keys";
import { recordedJson, recordedText, recordingNames } from "../../helpers/octez-recordings";

interface Recording {
  command?: string;
  situation?: string;
  exitCode?: number;
  stdout?: string;
  stderr: string;
}
const folder = "command-lines";
const recorded = (name: string): Recording => recordedJson(`${folder}/${name}.json`);

/** What the doubles do not write, by its beginning, with the reason. */
const notModelled: readonly (readonly [RegExp, string])[] = [
  [/new block \(|period \(remaining|Voting pass for/, "the simulated chain has no voting periods"],
  [/Warning: Exception in async stream/, "a remark of OCaml's HTTP client about a stream that it closed itself"],
  [/DNS lookup of|found the following warning|warning: failed to resolve|field 'p2p/, "no bootstrap peers, no names"],
  [/Generating a new identity/, "a picture of its work, with as many characters as the machine is slow"],
  [
    /monitor_operations|uri: URL.monitor|attempts left|stream is stalled/,
    "the double follows one stream and asks for both again",
  ],
  [/Unable to connect to the node|- meth: GET|Rpc request failed:$|Committee not found|^ *WARN │ *$/, "of that stream"],
  [/Error:$/, "the title of what is listed here, and of what is compared below it"],
  [/attestable.slots|│ {3}tz1\w+ --/, "the double asks its DAL node for no slots"],
  [/DAL attestation cache update|No DAL attestation data|│ {3}levels \[/, "the simulated chain has no DAL slots"],
  [/potential double baking|higher watermark/, "the recorded chain had several bakers with the same keys"],
  [/bootstrap peers found|no bootstrap IP|identity file|P2P server|crawler|layer 1's/, "the DAL double has no network"],
  [/An attestation operation was not|attested level|│ {3}226|Finalized block/, "it follows no blocks"],
  [
    /with a known protocol plugin|resolved plugin|node store|"chain id"|fetched protocols|"DAL config"/,
    "nor stores any",
  ],
  [
    /L1 node to be bootstrapped|the L1 node is boot|metrics server is listening|shutting down the p2p/,
    "nor has workers",
  ],
];
const isModelled = (line: string): boolean => !notModelled.some(([pattern]) => pattern.test(line));

/** Recordings that are not replayed line by line, with the reason. */
const elsewhere: Readonly<Record<string, string>> = {
  "accuser-help": "a manual: its options are compared with those of the double",
  "dal-help": "a manual: its options are compared with those of the double",
  "man-run": "a manual: its options are compared with those of the double",
  "signer-help": "a manual: its options are compared with those of the double",
  version: "names the build; of the doubles' only the form is compared",
};

/** Without what differs from run to run. */
const plain = (text: string): string =>
  text
    .replace(/^\w{3} \d\d [\d:.]+ +(NOTICE|WARN|ERROR) │/gm, "$1 │")
    .replace(/http:\/\/127\.0\.0\.1:\d+/g, "URL")
    .replace(/(port|[^\d.]127\.0\.0\.1:?) ?\d{1,5}\b/g, "$1 PORT")
    .replace(/\b(BL|BK|BM)\w{49}\b/g, "BLOCK")
    .replace(/\bo\w{50}\b/g, "OPERATION")
    .replace(/'a\d' \(tz\w{34}\)/g, "KEY")
    .replace(/keys\/tz\w{34}/g, "keys/ADDRESS")
    .replace(/level \d+/g, "level N")
    .replace(/round \d+/g, "round N")
    .replace(/Baker .* for/g, "Baker VERSION for")
    .replace(/"unknown \(not-available\).*"\)|"25\.1 \(a double of the laboratory\)"\)/g, "VERSION)")
    .replace(/DAL_\w+/g, "DAL_NETWORK")
    .replace(/\\?"\\?\[.*$/gm, "ANSWER");
const linesOf = (text: string): string[] =>
  plain(text)
    .split("\n")
    .filter((line) => line !== "" && isModelled(line));
/** From the last error on: before it some programs write their manual, which the doubles do not have. */
const errorOf = (text: string): string => plain(text).slice(Math.max(0, plain(text).lastIndexOf("Error:")));

const addresses = [
  "tz1gJqydwxKpxGj8jABfTTLojtpyyvHAhhcj",
  "tz2PDQDBwKsUQHecybynm79AC2DGBh4FL7Jd",
  "tz3XNX68EPFzLSxegNfQA9AZLcadda3LY7Rt",
  "tz4SPS15Shw86tE1ChEByGZwCCAR8nU3dWXS",
  "tz1QAwzFSdGgFpF2kSVLboKuQQMJXTsvBGpU",
];
const keys = addresses.map((address) => ({ ...testKey(address.slice(0, 3) as "tz1", address), address }));

const children: ChildProcess[] = [];
let place = "";
let program = "";
let signer: OctezSigner;
let signerPort = 0;

/** As recorded; a round is long enough for a busy machine to vote in. */
const blockMs = 2000;

class Run {
  stdout = "";
  stderr = "";
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;
  private waiting: (() => void)[] = [];

  constructor(args: readonly string[], env: Record<string, string> = {}) {
    const child = spawn(process.execPath, [program, ...args], {
      ...{ cwd: place, stdio: ["ignore", "pipe", "pipe"] },
      env: { PATH: process.env.PATH, LAB_START_MS: "20", LAB_POD: "a-0", ...env },
    });
    children.push(child);
    this.child = child;
    child.stdout?.on("data", (chunk: Buffer) => this.hear("stdout", chunk));
    child.stderr?.on("data", (chunk: Buffer) => this.hear("stderr", chunk));
    this.ended = new Promise((resolve) => child.on("close", (code) => (resolve(code), this.tell())));
  }
  private hear(stream: "stdout" | "stderr", chunk: Buffer): void {
    this[stream] += chunk.toString();
    this.tell();
  }
  private tell(): void {
    for (const wake of this.waiting.splice(0)) wake();
  }
  /** Resolves when the text of a stream matches; fails when the program ends before. */
  async until(pattern: RegExp, stream: "stdout" | "stderr" = "stderr"): Promise<RegExpExecArray> {
    for (;;) {
      const found = pattern.exec(this[stream]);
      if (found) return found;
      if (this.child.exitCode !== null || this.child.signalCode !== null)
        throw new Error(`ended with ${this.child.exitCode} before ${pattern}:\n${this.stdout}${this.stderr}`);
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    }
  }
  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<number | null> {
    this.child.kill(signal);
    return this.ended;
  }
}

interface Place {
  chain: Chain;
  served: Awaited<ReturnType<Chain["serve"]>>;
  env: Record<string, string>;
  node: Run;
  nodeUrl: string;
}
const places: Place[] = [];
/** A chain on which `delegate` has rights, and a node on it in the folder `node`. */
async function chainFor(delegate: string, blockMs: number, blockShare = 0): Promise<Place> {
  const chain = new Chain({
    ...{ seed: "lines", chainId: "NetXdQprcVkpaWU", protocol: knownProtocols[0] ?? "", blockMs, delegate },
    ...{ consensusKey: delegate, blockShare, attestationShare: 1, blocksPerCycle: 16, blocksPerCommitment: 4 },
    ...{ revelationBlocks: 12, startLevel: 103, virtualPeers: 3 },
  });
  chain.start();
  const served = await chain.serve("127.0.0.1");
  const env = { LAB_CHAIN: `127.0.0.1:${served.port}` };
  const { node, nodeUrl } = await startNode(env);
  const found = { chain, served, env, node, nodeUrl };
  places.push(found);
  return found;
}
async function startNode(
  env: Record<string, string>,
  address = "127.0.0.1:0",
): Promise<Pick<Place, "node" | "nodeUrl">> {
  const node = new Run(["octez-node", "run", "--data-dir", "node", "--rpc-addr", address], env);
  const [, port = ""] = await node.until(/starting RPC server on [^\n]*:(\d+)\n/, "stdout");
  const nodeUrl = `http://127.0.0.1:${port}`;
  // A node that has not heard of the chain yet answers 503.
  while ((await fetch(`${nodeUrl}/chains/main/chain_id`)).status !== 200);
  return { node, nodeUrl };
}

beforeAll(async () => {
  program = (await bundleDoubles()).doubles;
});
beforeEach(async () => {
  place = mkdtempSync(join(tmpdir(), "command-lines-"));
  for (const name of ["node", "CLIENT", "sig"]) mkdirSync(join(place, name));
  writeFileSync(join(place, "node/config.json"), "{}");
  const write = (name: string, value: (i: number) => unknown) =>
    writeFileSync(
      join(place, "CLIENT", name),
      JSON.stringify(addresses.map((_, i) => ({ name: `a${i + 1}`, value: value(i) }))),
    );
  write("public_key_hashs", (i) => addresses[i]);
  write("public_keys", (i) => ({ locator: `remote:${addresses[i]}`, key: keys[i]?.publicKey }));
  write("secret_keys", (i) => `remote:${addresses[i]}`);
  signer = new OctezSigner({ keys });
  signerPort = await signer.start("127.0.0.1");
});
afterEach(async () => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
  for (const { chain, served } of places.splice(0)) {
    served.close();
    chain.stop();
  }
  await signer.close();
  rmSync(place, { recursive: true, force: true });
});

/** The recorded arguments with the ports of this machine. */
const argumentsOf = ({ command = "" }: Recording, nodeUrl = "http://127.0.0.1:38731"): string[] =>
  command
    .replace("http://127.0.0.1:38731", nodeUrl)
    .replace("http://127.0.0.1:36732", `http://127.0.0.1:${signerPort}`)
    .replace("-p 36732", `-p ${signerPort}`)
    .replace("-p 36739", "-p 0")
    .replace("127.0.0.1:38798", "127.0.0.1:0")
    .split(" ");

const names = recordingNames(folder)
  .map((name) => name.slice(0, -5))
  .sort();
const ending = names.filter((name) => recorded(name).exitCode !== undefined && recorded(name).exitCode !== 137);
const replayed = ending.filter((name) => elsewhere[name] === undefined);

test("every recording of a command line is replayed, or is named with its reason", () => {
  const known = [
    ...replayed,
    ...Object.keys(elsewhere),
    ...Object.keys(living),
    "dal-node-away",
    "running-k1",
    "running-k2",
    "running-k3",
  ];
  expect(known.sort()).toEqual(names);
});

test("what ends by itself ends with the recorded exit code and words", async () => {
  const { nodeUrl } = await chainFor("tz1d", blockMs);
  for (const name of replayed) {
    const recording = recorded(name);
    const run = new Run(argumentsOf(recording, nodeUrl));
    const code = await run.ended;
    expect([name, code]).toEqual([name, recording.exitCode]);
    const manual = /^Usage:\n/.test(recording.stderr);
    if (manual) expect([name, errorOf(run.stderr)]).toEqual([name, errorOf(recording.stderr)]);
    else expect([name, linesOf(run.stderr)]).toEqual([name, linesOf(recording.stderr)]);
    if (recording.exitCode !== 0) expect([name, errorOf(run.stderr)]).toEqual([name, errorOf(recording.stderr)]);
    expect([name, linesOf(run.stdout)]).toEqual([name, linesOf(recording.stdout ?? "")]);
  }
});

const noRights = /The following delegates have no attesting rights[^\n]*\n[^\n]*\n/;
/** What lives until it is killed: to where its lines are compared. */
const living: Readonly<Record<string, { to: RegExp }>> = {
  "key-known-by-address": { to: noRights },
  "no-remote-signer-option": { to: noRights },
  "node-away-keep-alive": { to: /Retrying in 2\.25 seconds\.\.\.\n/ },
  "node-data-dir-empty": { to: /generating an identity file\n/ },
  "signer-away": { to: noRights },
  "signer-away-keep-alive": { to: noRights },
  "signer-bad-magic": { to: /listening on address[^\n]*\n/ },
  "signer-port-taken": { to: /listening on address[^\n]*\n/ },
};
const upTo = (text: string, pattern: RegExp | undefined): string => {
  const found = pattern?.exec(text);
  return found ? text.slice(0, found.index + found[0].length) : text;
};

/** On a busy machine more heads come before a baker has asked for its rights: their four lines count once. */
const oneHead = (lines: readonly string[]): string =>
  lines
    .map((line) => `${line}\n`)
    .join("")
    .replace(/(NOTICE │ received new head(?:[^\n]*\n){4})\1+/g, "$1");

test("what lives writes the recorded lines and does not end", async () => {
  const { nodeUrl } = await chainFor("tz1d", blockMs);
  await Promise.all(
    Object.entries(living).map(async ([name, { to }]) => {
      const recording = recorded(name);
      const run = new Run(argumentsOf(recording, nodeUrl));
      await run.until(to);
      const [heard, wanted] = [run.stderr, recording.stderr].map((text) => oneHead(linesOf(upTo(text, to))));
      expect([name, heard]).toEqual([name, wanted]);
      // It lives on, and may have said more by now than in the recording.
      const said = linesOf(recording.stdout ?? "");
      expect([name, linesOf(run.stdout).slice(0, said.length)]).toEqual([name, said]);
      // It is there to be ended.
      expect([name, await run.kill("SIGTERM")]).toEqual([name, 127]);
    }),
  );
});
const distinct = (text: string): string[] => [...new Set(linesOf(text))].sort();

test("octez-baker votes for the next proposal, not for the head that it finds, and ends with its node", async () => {
  const recording = recorded("running-k1");
  for (const text of [recording.stderr, await bakeAndKillNode()]) {
    const [, found] = /received new head \w+ at\n.*level (\d+)/.exec(text) ?? [];
    const [, first] = /injected preattestation for level (\d+)/.exec(text) ?? [];
    expect(Number(first)).toBeGreaterThan(Number(found));
    expect(text).toMatch(
      /lost stream connection with node http:\/\/127.0.0.1:\d+\nError:\n {2}Lost connection with the node\n$/,
    );
    expect(distinct(text)).toEqual(distinct(recording.stderr));
  }
});
async function bakeAndKillNode(): Promise<string> {
  const { node, nodeUrl } = await chainFor(addresses[0] ?? "", blockMs);
  const run = new Run([
    ...["octez-baker", "-d", "CLIENT", "-E", nodeUrl, "-R", `http://127.0.0.1:${signerPort}`, "run", "with", "local"],
    ...["node", "node", "a1", "--liquidity-baking-toggle-vote", "pass", "--without-dal"],
  ]);
  await run.until(/injected attestation[^\n]*\n[^\n]*\n[^\n]*\n[^]*received new head[^\n]*\n[^\n]*\n/);
  await node.kill();
  expect(await run.ended).toBe(1);
  return run.stderr;
}

test("octez-baker with --keep-alive follows its node again when that is back, and ends with 127", async () => {
  const { node, nodeUrl, env } = await chainFor(addresses[1] ?? "", blockMs);
  const run = new Run([
    ...["octez-baker", "-d", "CLIENT", "-E", nodeUrl, "-R", `http://127.0.0.1:${signerPort}`, "run", "with", "local"],
    ...["node", "node", "a2", "--liquidity-baking-toggle-vote", "pass", "--without-dal", "--keep-alive"],
  ]);
  await run.until(/injected attestation/);
  await node.kill();
  await run.until(/Retrying in 1\.50 seconds\.\.\.\n/);
  await startNode(env, nodeUrl.slice("http://".length));
  await run.until(/managed to reconnect[^]*injected preattestation[^\n]*\n[^\n]*\n[^\n]*\n/);
  expect(await run.kill("SIGINT")).toBe(127);
  const theirs = recorded("running-k2").stderr + recorded("running-k3").stderr;
  // Two signals, of which this run got one.
  const twice = /already in shutdown|^SIGINT$|node SIGKILL/;
  // On a busy machine the node is back later than the recorded one was.
  const later = /Retrying in (2\.25|3\.38|5\.06|7\.59)/;
  expect(distinct(run.stderr).filter((line) => !later.test(line))).toEqual(
    distinct(theirs).filter((line) => !twice.test(line)),
  );
});

test("octez-baker behind a closed gate asks once for each slot and writes the recorded errors", async () => {
  const closed = new OctezSigner({ keys, faults: { refuse: 503 } });
  const port = await closed.start("127.0.0.1");
  try {
    const { nodeUrl } = await chainFor(addresses[0] ?? "", blockMs, 0.5);
    const run = new Run([
      ...["octez-baker", "-d", "CLIENT", "-E", nodeUrl, "-R", `http://127.0.0.1:${port}`, "run", "with", "local"],
      ...["node", "node", "a1", "--liquidity-baking-toggle-vote", "pass", "--without-dal", "--keep-alive"],
    ]);
    await run.until(/unable to sign attestation/);
    await run.until(/failed to sign block[^]*received new head[^\n]*\n[^\n]*\n/);
    await run.kill();
    const theirs = recordedText("octez-baker/hot-standby-stderr.txt");
    expect(distinct(run.stderr)).toEqual(distinct(theirs));
  } finally {
    await closed.close();
  }
});

test("octez-baker without its DAL node tells so, and tells a signer's refusal in the signer's words", async () => {
  const recording = recorded("dal-node-away");
  const marked = new OctezSigner({ keys, checkHighWatermark: true });
  const port = await marked.start("127.0.0.1");
  const { chain, nodeUrl } = await chainFor(addresses[0] ?? "", blockMs);
  const branch = chain.head.hash;
  try {
    for (const [kind, level] of [
      ["preattestation", 900_000],
      ["attestation", 900_025],
    ] as const) {
      const vote = { kind, branch, level, round: 0, payloadHash: chain.head.payloadHash, slot: 5, dal: null };
      const bytes = encodeVoteRequest("NetXdQprcVkpaWU", vote).toString("hex");
      const url = `http://127.0.0.1:${port}/keys/${addresses[0]}?version=3`;
      expect((await call(url, JSON.stringify(bytes))).status).toBe(200);
    }
    const args = argumentsOf(recording, nodeUrl).map((word) =>
      word === `http://127.0.0.1:${signerPort}` ? `http://127.0.0.1:${port}` : word,
    );
    const run = new Run(args);
    await run.until(/unable to sign attestation[^]*received new head[^]*received new head/);
    await run.until(/Retrying in 2\.00 seconds\.\.\.\n/, "stdout");
    await run.kill();
    // By then its key had lost its rights in the recording.
    const rights = /no attesting rights|│ {3}KEY$/;
    expect(distinct(run.stderr)).toEqual(distinct(recording.stderr).filter((line) => !rights.test(line)));
    expect(distinct(run.stdout)).toEqual(distinct(recording.stdout ?? ""));
  } finally {
    await marked.close();
  }
});

test("octez-dal-node waits for its node, and starts beside one, with the recorded lines", async () => {
  const alone = new Run(["octez-dal-node", "run", "--data-dir", "dal", "--endpoint", "http://127.0.0.1:1"]);
  await alone.until(/in 0\.8s\n/);
  expect(await alone.kill("SIGTERM")).toBe(127);
  const longer = /in (1\.6|3\.2)s/;
  expect(distinct(alone.stderr).filter((line) => !/stopping DAL/.test(line))).toEqual(
    distinct(recordedText("octez-dal-node/stderr-start-without-node.txt")).filter((line) => !longer.test(line)),
  );
  const { nodeUrl } = await chainFor("tz1d", blockMs);
  const run = new Run([
    ...["octez-dal-node", "run", "--data-dir", "dal", "--endpoint", nodeUrl, "--rpc-addr", "127.0.0.1:0"],
    ...["--metrics-addr", "127.0.0.1:0", "--attester-profiles", addresses[0] ?? ""],
  ]);
  await run.until(/the DAL node is ready\n/);
  expect(await run.kill("SIGTERM")).toBe(127);
  expect(distinct(run.stderr)).toEqual(
    distinct(recordedText("octez-dal-node/stderr-start-run-node-killed-sigterm.txt")),
  );
});

/** The options in a manual's text, as the doubles spell them. */
function manualOptions(text: string, pattern: RegExp): Required<ArgumentSpec> {
  const found: Required<ArgumentSpec> = { options: {}, aliases: {} };
  for (const [, short, name = "", value] of text.matchAll(pattern)) {
    found.options[name] = value === undefined ? "flag" : "value";
    if (short !== undefined) found.aliases[short] = name;
  }
  return found;
}
const clicGlobal = /^ {2}(?:(-\w) )?(--[\w-]+)(?: (<))?/gm;
const clicCommand = /^ {4}(?:(-\w) )?(--[\w-]+)(?: (<))?/gm;
const partOf = (text: string, from: string, to: string): string => text.slice(text.indexOf(from), text.indexOf(to));

test("the doubles know the options of the recorded manuals, and no others", () => {
  const baker = recorded("man-run").stdout ?? "";
  const accuser = recorded("accuser-help").stdout ?? "";
  for (const text of [baker, accuser])
    expect(manualOptions(partOf(text, "Global options", "Commands related"), clicGlobal)).toEqual(clientOptions);
  for (const [from, to] of [
    ["\n  run with local node", "\n  run remotely"],
    ["\n  run remotely", "\n  run vdf"],
  ] as const)
    expect(manualOptions(partOf(baker, from, to), clicCommand)).toEqual(bakerOptions);
  expect(manualOptions(accuser.slice(accuser.indexOf("Commands related")), clicCommand)).toEqual(accuserOptions);

  const signing = recorded("signer-help").stdout ?? "";
  const global = manualOptions(partOf(signing, "Global options", "Commands specific"), clicGlobal);
  const launch = manualOptions(partOf(signing, "\n  launch http signer", "\n  launch https"), clicCommand);
  // Of `import secret key` and `add authorized key`, whose manuals are not recorded.
  const others: ArgumentSpec["options"] = { "--force": "flag", "--name": "value" };
  expect(signerOptions).toEqual({
    options: { ...global.options, ...launch.options, ...others },
    aliases: { ...global.aliases, ...launch.aliases },
  });

  const dal = [...(recorded("dal-help").stdout ?? "").matchAll(/^ {7}(-[^\n]*)$/gm)].flatMap(([, line = ""]) => {
    const words = [...line.matchAll(/(?:^|, )(-[\w-]+)(=| (?=[A-Z]))?/g)].map(([, name = "", value]) => ({
      name,
      value,
    }));
    return words.some(({ name }) => ["--help", "--version"].includes(name)) ? [] : [words];
  });
  const known = new Set([...Object.keys(dalOptions.options), ...Object.keys(dalOptions.aliases)]);
  expect(new Set(dal.flatMap((words) => words.map(({ name }) => name)))).toEqual(known);
  for (const words of dal)
    for (const { name, value } of words) {
      const kind = dalOptions.options[dalOptions.aliases[name] ?? name];
      expect([name, kind]).toEqual([name, value === undefined ? "flag" : "value"]);
    }
});

test("a version is told in the recorded form", async () => {
  const form = /^\S+ \([^)]+\) \(.+\)\n$/;
  expect(recorded("version").stdout).toMatch(form);
  const run = new Run(["octez-baker", "--version"]);
  expect(await run.ended).toBe(0);
  expect(run.stdout).toMatch(form);
});
