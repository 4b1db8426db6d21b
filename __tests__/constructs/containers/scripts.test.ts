/** The shell scripts of the pods, run by a real shell with doubles of the programs that they call. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import {
  accuser,
  configureNode,
  dalNode,
  importKeys,
  importSnapshot,
  octezNode,
  podScripts,
} from "../../../constructs/containers/octez";
import type { PodContainer } from "../../../constructs/containers/container";

const folder = mkdtempSync(join(tmpdir(), "scripts-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Machine {
  readonly root: string;
  readonly env: Record<string, string>;
  /** Writes a double: a shell script that may use $CALLS. */
  program(name: string, text: string): void;
  calls(): string[];
  run(container: PodContainer): { status: number | null; output: string };
}
let machines = 0;
function machine(): Machine {
  const root = join(folder, String(machines++));
  const at = (name: string) => join(root, name);
  for (const name of ["bin", "node", "client", "state/snapshot", "secrets", "config"])
    mkdirSync(at(name), { recursive: true });
  for (const [name, text] of Object.entries(podScripts())) writeFileSync(join(at("config"), name), text);
  const env = {
    PATH: `${at("bin")}:${process.env.PATH ?? ""}`,
    CALLS: at("calls"),
    TOG_POD_NAME: "alice-as-1",
    TOG_POD_ADDRESS: "10.0.0.7",
    TOG_LOCAL_ADDRESS: "127.0.0.9",
    TOG_NODE_DIR: at("node"),
    TOG_CLIENT_DIR: at("client"),
    TOG_STATE_DIR: at("state"),
    TOG_SECRETS_DIR: at("secrets"),
    TOG_CONFIG_FILE: at("config/baker.json"),
  };
  const program = (name: string, text: string): void =>
    writeFileSync(join(at("bin"), name), `#!/bin/sh\necho "${name} $*" >>"$CALLS"\n${text}\n`, { mode: 0o755 });
  for (const name of ["octez-node", "octez-dal-node", "octez-accuser"]) program(name, "exit 0");
  program("sleep", "exit 0");
  return {
    root,
    env,
    program,
    calls: () => (existsSync(env.CALLS) ? readFileSync(env.CALLS, "utf8").trim().split("\n") : []),
    run: ({ command = [], args = [] }) => {
      // As Kubernetes expands them: $(NAME) of the environment, everything else as it is.
      const words = [...command, ...args].map((word) =>
        word.replace(/\$\((\w+)\)/g, (whole, name: string) => (env as Record<string, string>)[name] ?? whole),
      );
      const { status, stdout, stderr } = spawnSync(words[0] ?? "", words.slice(1), {
        env,
        encoding: "utf8",
        timeout: 10_000,
      });
      return { status, output: stdout + stderr };
    },
  };
}
const image = "octez";
const hash = `BL${"k".repeat(49)}`;
const snapshot = (changes: { url?: string; blockHash?: string; historyMode?: string } = {}) =>
  importSnapshot({ image, network: "shadownet", historyMode: "rolling", ...changes });
/** wget that publishes `published` on the page and gives the snapshot, resuming with -c. */
const wget = (published: string, give = 'printf whole >"$file"') => `
while [ $# -gt 1 ]; do [ "$1" != -O ] || file=$2; shift; done
case $1 in
  *.html) echo '<b>block hash</b>: ${published}' ;;
  *) ${give} ;;
esac`;

describe("configure-node", () => {
  const container = configureNode({ image, network: "shadownet", historyMode: "rolling", privatePeers: [] });
  test("writes the configuration anew at each start and keeps everything else", () => {
    const pod = machine();
    pod.program("octez-node", '[ ! -e "$TOG_NODE_DIR/config.json" ] || exit 1\necho "{}" >"$TOG_NODE_DIR/config.json"');
    writeFileSync(join(pod.root, "node/identity.json"), "mine");
    expect([pod.run(container).status, pod.run(container).status]).toEqual([0, 0]);
    expect(pod.calls()[0]).toBe(
      `octez-node config init --data-dir ${pod.root}/node --network shadownet --history-mode rolling` +
        " --rpc-addr 127.0.0.9:8732",
    );
    expect(readFileSync(join(pod.root, "node/identity.json"), "utf8")).toBe("mine");
  });
  test("with sentries the node talks to these only", () => {
    const pod = machine();
    pod.run(configureNode({ image, network: "mainnet", historyMode: "full:5", privatePeers: ["a:9732", "b:9733"] }));
    expect(pod.calls()[0]).toMatch(
      /--history-mode full:5 .* --private-mode --no-bootstrap-peers --peer a:9732 --peer b:9733$/,
    );
  });
});

describe("import-snapshot", () => {
  test("imports the newest one under the hash that its publisher shows, and leaves nothing behind", () => {
    const pod = machine();
    pod.program("wget", wget(hash));
    expect(pod.run(snapshot())).toMatchObject({ status: 0 });
    expect(pod.calls().at(-1)).toBe(
      `octez-node snapshot import ${pod.root}/state/snapshot/${hash} --block ${hash} --data-dir ${pod.root}/node`,
    );
    expect(pod.calls()[0]).toContain("https://snapshots.tzinit.org/shadownet/rolling.html");
    expect(readdirSync(join(pod.root, "state/snapshot"))).toEqual([]);
  });
  test("a pinned hash is what is checked, whatever the publisher shows", () => {
    const pod = machine();
    const pinned = `BM${"m".repeat(49)}`;
    pod.program("wget", wget(hash));
    expect(pod.run(snapshot({ url: "https://example.org/x", blockHash: pinned })).status).toBe(0);
    expect(pod.calls().join()).not.toContain(".html");
    expect(pod.calls().at(-1)).toContain(`--block ${pinned} `);
  });
  test("without any hash nothing is imported, and the log says what to write", () => {
    const pod = machine();
    pod.program("wget", wget("none"));
    expect(pod.run(snapshot())).toMatchObject({
      status: 1,
      output: expect.stringContaining("set the block hash of the snapshot"),
    });
    expect(pod.calls().join()).not.toContain("octez-node");
  });
  test("does nothing where the node has data", () => {
    const pod = machine();
    mkdirSync(join(pod.root, "node/store"));
    expect(pod.run(snapshot())).toMatchObject({ status: 0, output: expect.stringContaining('"skipped"') });
    expect(pod.calls()).toEqual([]);
  });
  test("an archive node gets none and synchronizes from the first block", () => {
    const pod = machine();
    expect(pod.run(snapshot({ historyMode: "archive" }))).toMatchObject({
      status: 0,
      output: expect.stringContaining("first block"),
    });
    expect(pod.calls()).toEqual([]);
  });
  test("a download that breaks is resumed, also after the container was killed", () => {
    const pod = machine();
    pod.program(
      "wget",
      wget(hash, `[ -e "$file" ] || { printf wh >"$file"; kill -9 $PPID; exit 0; }; printf ole >>"$file"`),
    );
    expect(pod.run(snapshot()).status).not.toBe(0);
    expect(readFileSync(join(pod.root, `state/snapshot/${hash}.part`), "utf8")).toBe("wh");
    pod.program("octez-node", '[ "$(cat "$3")" = whole ]');
    expect(pod.run(snapshot()).status).toBe(0);
    expect(pod.calls().filter((call) => call.startsWith("wget") && call.includes(" -c "))).toHaveLength(2);
  });
  test("a part of another snapshot is never continued", () => {
    const pod = machine();
    writeFileSync(join(pod.root, `state/snapshot/BL${"z".repeat(49)}.part`), "old");
    pod.program("wget", wget(hash, '[ ! -e "$file" ] && printf whole >"$file"'));
    pod.program("octez-node", '[ "$(cat "$3")" = whole ] && [ "$(ls "$(dirname "$3")" | wc -l)" = 2 ]');
    expect(pod.run(snapshot()).status).toBe(0);
  });
  test("a server that never answers ends the start instead of a wait for ever, and the next one begins anew", () => {
    const pod = machine();
    pod.program("wget", wget(hash, 'printf x >>"$file"; exit 1'));
    expect(pod.run(snapshot())).toMatchObject({ status: 1, output: expect.stringContaining("30 attempts failed") });
    expect(readdirSync(join(pod.root, "state/snapshot"))).toEqual([]);
  });
  test("an import that refuses the file removes it; what it left in the node's folder goes at the next start, the identity stays", () => {
    const pod = machine();
    pod.program("wget", wget(hash));
    pod.program("octez-node", 'mkdir -p "$TOG_NODE_DIR/store" && exit 1');
    writeFileSync(join(pod.root, "node/identity.json"), "mine");
    expect(pod.run(snapshot()).status).toBe(1);
    expect(readdirSync(join(pod.root, "state/snapshot"))).toEqual(["importing"]);
    pod.program("octez-node", '[ ! -e "$TOG_NODE_DIR/store" ]');
    expect(pod.run(snapshot()).status).toBe(0);
    expect(readdirSync(join(pod.root, "node"))).toEqual(["identity.json"]);
  });
  test("an import that was killed keeps its file", () => {
    const pod = machine();
    pod.program("wget", wget(hash));
    pod.program("octez-node", "kill -9 $$");
    expect(pod.run(snapshot()).status).toBe(1);
    expect(readdirSync(join(pod.root, "state/snapshot")).sort()).toEqual([hash, "importing"]);
    pod.program("octez-node", "exit 0");
    pod.program("wget", "exit 1");
    expect(pod.run(snapshot({ blockHash: hash })).status).toBe(0);
  });
});

describe("import-keys", () => {
  const keys = [
    { alias: "consensus", address: "tz4A" },
    { alias: "companion", address: "tz4B" },
  ];
  const read = (pod: Machine, name: string): unknown =>
    JSON.parse(readFileSync(join(pod.root, "client", name), "utf8"));
  const remote = [
    { name: "consensus", value: "remote:tz4A" },
    { name: "companion", value: "remote:tz4B" },
  ];
  test("writes the client's files of remote keys, asking nobody", () => {
    const pod = machine();
    expect(pod.run(importKeys({ image, keys })).status).toBe(0);
    expect(read(pod, "public_key_hashs")).toEqual(keys.map(({ alias, address }) => ({ name: alias, value: address })));
    expect(read(pod, "public_keys")).toEqual(remote);
    expect(read(pod, "secret_keys")).toEqual(remote);
  });
  test.each(["", "\n"])(
    "the authentication key goes from the secret's file into the client's (end %j), readable by its owner only",
    (end) => {
      const pod = machine();
      writeFileSync(join(pod.root, "secrets/authentication-key"), `unencrypted:edskA${end}`);
      expect(pod.run(importKeys({ image, keys, authenticationKey: "tz1C" }))).toEqual({ status: 0, output: "" });
      expect(read(pod, "secret_keys")).toEqual([...remote, { name: "authentication", value: "unencrypted:edskA" }]);
      expect(read(pod, "public_key_hashs")).toContainEqual({ name: "authentication", value: "tz1C" });
      expect(statSync(join(pod.root, "client/secret_keys")).mode & 0o777).toBe(0o600);
    },
  );
  test("a public key that octez-baker has learnt stays while its address does, whatever its alias becomes", () => {
    const pod = machine();
    const learnt = (address: string) => ({ locator: `remote:${address}`, key: `BLpk${address}` });
    const before = [
      { name: "consensus", value: learnt("tz4C") },
      { name: "companion", value: learnt("tz4B") },
      { name: "consensus-2", value: learnt("tz4A") },
    ];
    for (const indent of [0, 2]) {
      writeFileSync(join(pod.root, "client/public_keys"), JSON.stringify(before, null, indent));
      expect(pod.run(importKeys({ image, keys }))).toEqual({ status: 0, output: "" });
      expect(read(pod, "public_keys")).toEqual([
        { name: "consensus", value: learnt("tz4A") },
        { name: "companion", value: learnt("tz4B") },
      ]);
    }
    writeFileSync(join(pod.root, "client/public_keys"), JSON.stringify(before.slice(0, 2)).slice(0, -9));
    expect(pod.run(importKeys({ image, keys }))).toEqual({ status: 0, output: "" });
    expect(read(pod, "public_keys")).toEqual(remote);
  });
  test("another start replaces the files and touches no other one", () => {
    const pod = machine();
    writeFileSync(join(pod.root, "client/x_stateful_nonces"), "[]");
    pod.run(importKeys({ image, keys }));
    pod.run(importKeys({ image, keys: keys.slice(0, 1) }));
    expect(read(pod, "secret_keys")).toEqual(remote.slice(0, 1));
    expect(readdirSync(join(pod.root, "client")).sort()).toEqual([
      "public_key_hashs",
      "public_keys",
      "secret_keys",
      "x_stateful_nonces",
    ]);
  });
});

describe("octez-dal-node", () => {
  const run = (publicAddresses: Record<string, string>) => {
    const pod = machine();
    expect(pod.run(dalNode({ image, attester: "tz1A", publicAddresses })).status).toBe(0);
    return pod.calls()[0]?.replaceAll(pod.root, "");
  };
  const command =
    "octez-dal-node run --data-dir /state/dal --endpoint http://127.0.0.9:8732 --attester-profiles=tz1A" +
    " --rpc-addr 127.0.0.9:10732 --net-addr 10.0.0.7:11732 --metrics-addr 10.0.0.7:11733";
  test("without a public address it says none", () => expect(run({})).toBe(command));
  test("it says the one of its own pod", () =>
    expect(run({ "alice-as-0": "203.0.113.1:11732", "alice-as-1": "[2001:db8::1]:11732" })).toBe(
      `${command} --public-addr [2001:db8::1]:11732`,
    ));
  test("a load balancer without an address yet is no address", () =>
    expect(run({ "alice-as-1": ":11732" })).toBe(command));
});

test("node and accuser are Octez' own programs", () => {
  const pod = machine();
  pod.run(octezNode({ image, waitForHandover: true }));
  pod.run(accuser({ image }));
  expect(pod.calls()).toEqual([
    `octez-node run --data-dir ${pod.root}/node --net-addr 10.0.0.7:9732 --metrics-addr 10.0.0.7:9932`,
    "octez-accuser -E http://127.0.0.9:8732 run --keep-alive",
  ]);
});

describe("octez-node's process 1", () => {
  const container = octezNode({ image, waitForHandover: true });
  /** The container's process, with this text as octez-node. */
  const start = (text: string, before: readonly string[] = []) => {
    const pod = machine();
    pod.program("octez-node", text);
    const words = [...before, ...(container.command ?? [])];
    const child = spawn(words[0] ?? "", words.slice(1), { env: pod.env, stdio: ["ignore", "pipe", "inherit"] });
    const go = () => writeFileSync(`${pod.env.CALLS ?? ""}.go`, "");
    return { child, go, ended: once(child, "exit") as Promise<[number | null, string | null]> };
  };

  test("ends with octez-node's exit code, also where a signal ended that", async () => {
    expect(await start("exit 3").ended).toEqual([3, null]);
    expect(await start("kill -KILL $$").ended).toEqual([137, null]);
  });

  test.each(["SIGTERM", "SIGINT"] as const)("hands %s on and waits for as long as octez-node needs", async (signal) => {
    const closing = 'echo closing; until [ -e "$CALLS.go" ]; do /bin/sleep 0.02; done; exit 127';
    const { child, go, ended } = start(`trap '${closing}' TERM\necho ready\nwhile :; do /bin/sleep 0.02; done`);
    const said = createInterface(child.stdout)[Symbol.asyncIterator]();
    expect((await said.next()).value).toBe("ready");
    child.kill(signal);
    expect((await said.next()).value).toBe("closing");
    expect(child.exitCode).toBeNull();
    go();
    expect(await ended).toEqual([127, null]);
  });

  const alone = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"];
  const inNamespace = spawnSync(alone[0] ?? "", [...alone.slice(1), "true"]).status === 0 ? test : test.skip;
  inNamespace("reaps what lost its parent", async () => {
    // A grandchild whose parent ends at once, and then ends itself.
    const orphan = "(/bin/sh -c 'echo $$ >\"$CALLS.orphan\"' &)";
    const look = 'until [ -s "$CALLS.orphan" ]; do /bin/sleep 0.02; done; read -r pid <"$CALLS.orphan"';
    const { ended } = start(`${orphan}\n${look}\nwhile [ -e "/proc/$pid" ]; do /bin/sleep 0.02; done\nexit 4`, alone);
    expect(await ended).toEqual([4, null]);
  });
});

test("the scripts are clean, where shellcheck is there to say so, and hold nothing that Terraform takes for a template", () => {
  const source = resolve(__dirname, "../../../constructs/containers/scripts");
  const files = readdirSync(source).map((name) => join(source, name));
  expect(files).toHaveLength(5);
  for (const file of files) expect(readFileSync(file, "utf8")).not.toMatch(/\$\{|%\{/);
  const { error, status, stdout } = spawnSync("shellcheck", ["-s", "dash", ...files], { encoding: "utf8" });
  if (!error) expect([status, stdout]).toEqual([0, ""]);
});
