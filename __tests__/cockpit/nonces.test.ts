/**
 * npm run nonces with a cluster that runs `tog` in the folders of its pods: the flag on, the flag off, a disaster copy.
 */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Cluster } from "../../cockpit/cluster";
import { cockpit } from "../../cockpit/main";
import type { PodView } from "../../diagnosis/objects";
import { podName, type Topology } from "../../contract/names";
import { parseLegacy } from "../../tezos/nonces";
import { bundlePath } from "../helpers/bundle";
import { bakerFile, makeNonce, readStateful, writeStateful } from "../helpers/nonce-pods";

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), "tog-script-"))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

let pods: PodView[] = [];
/** Pods with folders of their own. @returns their client folders */
function cluster(topology: Topology, members: number, running = true): string[] {
  const names = Array.from({ length: members }, (_, index) => podName("alice", topology, index));
  for (const pod of names) {
    const path = join(folder, pod);
    mkdirSync(join(path, "client"), { recursive: true });
    writeFileSync(join(path, "baker.json"), JSON.stringify(bakerFile({ topology, members })));
  }
  pods = names.map((name) => ({
    metadata: { name, uid: "u", resourceVersion: "1", labels: { baker: "alice" }, annotations: {} },
    ...{ phase: "Running", node: "n", deleting: false, init: "" },
    containers: [{ name: "baker", ready: running, running, restarts: 0, waiting: "", ended: undefined }],
  }));
  return names.map((pod) => join(folder, pod, "client"));
}

/** Runs the command in the folders of the pod. */
const exec: Cluster["exec"] = async (pod, container, words, input) => {
  const bundle = await bundlePath();
  if (words[0] !== "/usr/local/bin/tog" || container !== "baker")
    throw new Error(`unexpected: ${container} ${words.join(" ")}`);
  const path = join(folder, pod);
  const environment = {
    ...{
      PATH: process.env.PATH,
      TOG_POD_NAME: pod,
      TOG_POD_UID: "u",
      TOG_POD_ADDRESS: "127.0.0.1",
      TOG_LOCAL_ADDRESS: "127.0.0.1",
    },
    ...{
      TOG_NAMESPACE: "tezos",
      TOG_ZONE: "",
      TOG_KUBE_URL: "http://127.0.0.1:1",
      TOG_KUBE_DIR: path,
      TOG_NODE_DIR: path,
      TOG_STATE_DIR: path,
    },
    ...{ TOG_CLIENT_DIR: join(path, "client"), TOG_SECRETS_DIR: path, TOG_CONFIG_FILE: join(path, "baker.json") },
  };
  return new Promise((done) => {
    const child = spawn(process.execPath, [bundle, ...words.slice(1)], { env: environment });
    const result = { code: null as number | null, out: "", err: "" };
    child.stdout.on("data", (chunk: Buffer) => (result.out += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (result.err += chunk.toString()));
    child.on("close", (code) => done({ ...result, code }));
    child.stdin.end(input);
  });
};
const connect = () => ({ namespace: "tezos", pods: () => Promise.resolve(pods), exec }) as unknown as Cluster;
async function nonces(...words: string[]): Promise<{ code: number; out: string; err: string }> {
  const said = { out: "", err: "" };
  const code = await cockpit(["nonces", ...words], {
    connect,
    terminal: false,
    out: (text) => void (said.out += text),
    err: (text) => void (said.err += text),
  });
  return { ...said, code };
}

test.each([
  ["on", "solo", 1, "active-standby", 2],
  ["off", "active-standby", 2, "solo", 1],
] as const)(
  "the flag %s: every nonce is in every pod of the new topology, also a legacy one",
  async (_name, from, many, to, members) => {
    const old = cluster(from, many);
    old.forEach((dir, index) =>
      writeStateful(dir, [makeNonce({ seed: 1 }), makeNonce({ seed: 10 + index, state: { injection_level: 7 } })]),
    );
    const orphan = makeNonce({ seed: 30 });
    writeFileSync(
      join(old[0] ?? "", "NetXdQprcVkpa_orphaned_nonces"),
      JSON.stringify([{ block: orphan.block, nonce: orphan.nonce }]),
    );
    const file = join(folder, "nonces.json");
    expect(await nonces("export", "--out", file)).toMatchObject({ code: 0, out: "" });
    expect(statSync(file).mode & 0o777).toBe(0o600);

    const fresh = cluster(to, members);
    // Its baker has already committed.
    writeStateful(fresh[0] ?? "", [makeNonce({ seed: 20 })]);
    expect(await nonces("import", file)).toMatchObject({ code: 0 });
    fresh.forEach((dir, index) => {
      const seeds = [1, ...old.map((_, one) => 10 + one), ...(index === 0 ? [20] : [])];
      expect(readStateful(dir)).toEqual(
        seeds.map((seed) => makeNonce({ seed, state: seed >= 10 && seed < 20 ? { injection_level: 7 } : "committed" })),
      );
      expect(parseLegacy(readFileSync(join(dir, "NetXdQprcVkpa_nonces"), "utf8")).map(({ nonce }) => nonce)).toContain(
        orphan.nonce,
      );
    });
  },
);

test("a file of another baker, a pod that does not run and a broken file are failures that say so and change nothing", async () => {
  const [dir] = cluster("solo", 1);
  const file = join(folder, "other.json");
  writeFileSync(
    file,
    JSON.stringify({
      version: 1,
      chain: "NetXdQprcVkpaWU",
      baker: "bob",
      stateful: [makeNonce({ seed: 1 })],
      legacy: [],
    }),
  );
  expect(await nonces("import", file)).toMatchObject({
    code: 1,
    err: expect.stringContaining("the export must be of baker alice, got bob") as string,
  });
  writeFileSync(join(dir ?? "", "NetXdQprcVkpa_stateful_nonces"), "[{");
  expect(await nonces("export")).toMatchObject({
    code: 1,
    out: "",
    err: expect.stringContaining("not-json") as string,
  });
  cluster("solo", 1, false);
  expect(await nonces("export")).toMatchObject({ code: 1, err: expect.stringContaining("does not run") as string });
});

test("files of one chain by both names are read, merged, and written by the name that octez-baker reads", async () => {
  const [dir = ""] = cluster("solo", 1);
  const [own, other] = [makeNonce({ seed: 1 }), makeNonce({ seed: 2, state: { injection_level: 7 } })];
  writeStateful(dir, [own]);
  const otherFile = join(dir, "NetXdQprcVkpaWU_stateful_nonces");
  writeFileSync(otherFile, JSON.stringify([other, { ...own, state: { injection_level: 5 } }]));
  const orphan = makeNonce({ seed: 3 });
  writeFileSync(join(dir, "netXdQprcVk_nonces"), JSON.stringify([{ block: orphan.block, nonce: orphan.nonce }]));
  const { out } = await nonces("export");
  const merged = [{ ...own, state: { injection_level: 5 } }, other];
  expect(JSON.parse(out)).toMatchObject({ stateful: merged, legacy: [{ nonce: orphan.nonce }] });

  const third = makeNonce({ seed: 4 });
  const raw = join(folder, "NetXdQprcVkpa_stateful_nonces");
  writeFileSync(raw, JSON.stringify([third]));
  expect(await nonces("import", raw)).toMatchObject({ code: 0 });
  expect(readStateful(dir)).toEqual([...merged, third]);
  expect(parseLegacy(readFileSync(join(dir, "NetXdQprcVkpa_nonces"), "utf8"))).toContainEqual({
    block: orphan.block,
    nonce: orphan.nonce,
  });
  expect(JSON.parse(readFileSync(otherFile, "utf8"))).toHaveLength(2);
});

test("a legacy file of octez-baker can be imported, too, and a broken one says where", async () => {
  const [dir = ""] = cluster("solo", 1);
  const { block, nonce } = makeNonce({ seed: 1 });
  const raw = join(folder, "NetXdQprcVkpa_nonces");
  writeFileSync(raw, JSON.stringify([{ block, nonce }]));
  expect(await nonces("import", raw)).toMatchObject({ code: 0 });
  expect(parseLegacy(readFileSync(join(dir, "NetXdQprcVkpa_nonces"), "utf8"))).toEqual([{ block, nonce }]);
  writeFileSync(raw, JSON.stringify([{ block, nonce: "1" }]));
  const { code, err } = await nonces("import", raw);
  expect([code, err]).toEqual([1, expect.stringContaining("entry 0: nonce is 64 lowercase hex digits")]);
});

test("a file of another name that is broken stays where it is, and what is whole in it is merged", async () => {
  const [dir = ""] = cluster("solo", 1);
  const whole = makeNonce({ seed: 1 });
  const otherFile = join(dir, "NetXdQprcVkpaWU_stateful_nonces");
  writeFileSync(otherFile, `[${JSON.stringify(whole)}, {"nonce":`);
  const raw = join(folder, "raw.json");
  writeFileSync(raw, JSON.stringify([makeNonce({ seed: 2 })]));
  expect(await nonces("import", raw)).toMatchObject({
    code: 0,
    out: expect.stringContaining('"quarantined":null') as string,
  });
  expect(readStateful(dir)).toEqual([whole, makeNonce({ seed: 2 })]);
  // It may be on its way into the folder still.
  expect(existsSync(otherFile)).toBe(true);
});

test("an export never replaces a file", async () => {
  cluster("solo", 1);
  const file = join(folder, "nonces.json");
  writeFileSync(file, "the only copy");
  expect(await nonces("export", "--out", file)).toMatchObject({
    code: 1,
    err: expect.stringContaining(`${file} is there already`) as string,
  });
  expect(readFileSync(file, "utf8")).toBe("the only copy");
});
