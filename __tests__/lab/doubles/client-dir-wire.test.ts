/**
 * What octez-baker 25.1 left in its client's folder, and how: our reader and its double read those files, and
 * the double goes on from them by the same steps.
 */
import { spawn, type ChildProcess } from "node:child_process";
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  watch,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readNonces } from "../../../daemons/runtime/nonce-files";
import { bundleDoubles } from "../../../lab/bundle";
import { Chain } from "../../../lab/chain/chain";
import { knownProtocols } from "../../../lab/doubles/octez-baker-options";
import { lab } from "../../../lab/doubles/common";
import { NodeRpc } from "../../../lab/doubles/node-rpc";
import { NodeView } from "../../../lab/doubles/node-view";
import type { StatefulNonce } from "../../../lab/doubles/octez-baker-nonces";
import { OctezSigner } from "../../../lab/doubles/signer-server";
import { testKey } from "../../../lab/doubles/signing-keys";
import { recordedJson, recordedText } from "../../helpers/octez-recordings";

const recorded = ["highwatermarks", "nonces", "stateful_nonces"].map((kind) => `NetXdQprcVkpa_${kind}`);
const address = "tz1KqTpEZ7Yob7QbPE4Hy4Wo8fHG8LhKxZSx";
const chainId = "NetXdQprcVkpaWU";
/** Files of a client's folder by name, temporary ones without their six digits. */
const form = (name: string): string => name.replace(/[0-9a-f]{6}\.tmp$/, "<6 hex>.tmp");

test("the recorded steps write each file by a temporary one with six digits, and lock without fsync", () => {
  const steps = recordedText("client-dir/strace-locks-and-renames.txt");
  expect(steps).not.toMatch(/fsync|fdatasync/);
  expect(steps).toMatch(/openat\(AT_FDCWD, "CLIENT\/wallet_lock", O_WRONLY\|O_CREAT, 0644\)/);
  const renames = [...steps.matchAll(/rename\("CLIENT\/(\w+\.tmp)", "CLIENT\/(\w+)"\)/g)];
  expect(new Set(renames.map(([, from = "", to = ""]) => form(from) === `${to}<6 hex>.tmp`))).toEqual(new Set([true]));
  const { changes } = recordedJson<{ changes: { file: string; after: [string, string, number] | [null] }[] }>(
    "client-dir/lifecycle.json",
  );
  const modes = new Map(changes.flatMap(({ file, after }) => (after[0] === null ? [] : [[form(file), after[1]]])));
  expect(modes.get("wallet_lock")).toBe("0o644");
  expect(new Set([...modes].filter(([name]) => name !== "wallet_lock").map(([, mode]) => mode))).toEqual(
    new Set(["0o600"]),
  );
});

test("our reader takes the recorded nonces as they are", async () => {
  const folder = mkdtempSync(join(tmpdir(), "client-dir-"));
  try {
    for (const name of recorded)
      copyFileSync(join(__dirname, "../../fixtures/wire/octez-25.1/client-dir", name), join(folder, name));
    const read = await readNonces(folder, chainId);
    const theirs = recordedJson<StatefulNonce[]>("client-dir/NetXdQprcVkpa_stateful_nonces");
    expect(read.stateful.map(({ hash }) => hash).sort()).toEqual(theirs.map(({ hash }) => hash).sort());
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

describe("beside a chain that has come as far as the recorded files", () => {
  let folder = "";
  let child: ChildProcess | undefined;
  const closers: (() => unknown)[] = [];
  afterEach(async () => {
    child?.kill("SIGKILL");
    for (const close of closers.splice(0)) await close();
    rmSync(folder, { recursive: true, force: true });
  });

  test("octez-baker's double goes on from the recorded files with the recorded steps", async () => {
    folder = mkdtempSync(join(tmpdir(), "client-dir-"));
    const client = join(folder, "CLIENT");
    mkdirSync(client);
    for (const name of recorded) writeFileSync(join(client, name), recordedText(`client-dir/${name}`), { mode: 0o600 });
    const key = { ...testKey("tz1", "boot"), address };
    const entry = (value: unknown) => JSON.stringify([{ name: "boot", value }]);
    writeFileSync(join(client, "public_key_hashs"), entry(address));
    writeFileSync(join(client, "public_keys"), entry(`remote:${address}`));
    writeFileSync(join(client, "secret_keys"), entry(`remote:${address}`));
    const marks = recordedJson<{ blocks: { highwatermark: { level: number } }[] }>(`client-dir/${recorded[0]}`);
    const last = marks.blocks[0]?.highwatermark.level ?? 0;

    const signer = new OctezSigner({ keys: [key] });
    const signerUrl = `http://127.0.0.1:${await signer.start("127.0.0.1")}`;
    closers.push(() => signer.close());
    const chain = new Chain({
      ...{ seed: "folder", chainId, protocol: knownProtocols[0] ?? "", blockMs: 1500, delegate: address },
      ...{ consensusKey: address, blockShare: 1, attestationShare: 1, blocksPerCycle: 16, blocksPerCommitment: 4 },
      ...{ revelationBlocks: 12, startLevel: last + 1, virtualPeers: 0 },
    });
    chain.start();
    closers.push(() => chain.stop());
    const served = await chain.serve("127.0.0.1");
    closers.push(() => served.close());
    lab.chain = `127.0.0.1:${served.port}`;
    const view = new NodeView();
    view.parameters = chain.options;
    const rpc = new NodeRpc(view);
    const node = createServer((request, response) => {
      let body = "";
      request.on("data", (chunk: Buffer) => (body += chunk.toString()));
      request.on("end", () => void rpc.serve(request, response, new URL(request.url ?? "/", "http://octez"), body));
    });
    await new Promise<void>((resolve) => node.listen(0, "127.0.0.1", resolve));
    closers.push(() => (node.close(), node.closeAllConnections()));
    view.accept(chain.head);
    // The node's peer is this process: what the chain has, the node has.
    chain.on("block", () => view.accept(chain.head));
    const quorums = setInterval(() => {
      const { hash, level, round, payloadHash } = chain.head;
      for (const kind of ["prequorum", "quorum"]) view.receive({ [kind]: { hash, level, round, payloadHash } });
    }, 100);
    closers.push(() => clearInterval(quorums));

    const seen = new Set<string>();
    const watcher = watch(client, (_event, name) => seen.add(form(String(name))));
    closers.push(() => watcher.close());
    const { doubles } = await bundleDoubles();
    const nodeUrl = `http://127.0.0.1:${(node.address() as AddressInfo).port}`;
    const baker = spawn(
      process.execPath,
      [
        ...[doubles, "octez-baker", "-d", client, "-E", nodeUrl, "-R", signerUrl, "run", "with", "local", "node"],
        ...[folder, "boot", "--liquidity-baking-toggle-vote", "pass", "--without-dal"],
      ],
      { env: { PATH: process.env.PATH, LAB_START_MS: "0", LAB_POD: "a-0" }, stdio: "ignore" },
    );
    child = baker;
    const ended = new Promise((_, reject) => baker.once("exit", (code) => reject(new Error(`ended with ${code}`))));
    ended.catch(() => undefined);
    // A block that commits, and its attestation.
    const committed = new Promise<void>((resolve) =>
      chain.on("decided", ({ commitment }) => {
        if (commitment !== null) resolve();
      }),
    );
    await Promise.race([committed, ended]);

    const read = <T>(name: string): T => JSON.parse(readFileSync(join(client, name), "utf8")) as T;
    const before = recordedJson<StatefulNonce[]>("client-dir/NetXdQprcVkpa_stateful_nonces");
    const after = read<StatefulNonce[]>("NetXdQprcVkpa_stateful_nonces");
    const cycle = Math.max(...after.map((nonce) => nonce.cycle));
    for (const nonce of before.filter((old) => old.cycle >= cycle - 1))
      expect(after).toContainEqual(nonce.cycle === cycle ? nonce : expect.objectContaining({ hash: nonce.hash }));
    expect(after.length).toBeGreaterThan(before.filter((old) => old.cycle >= cycle - 1).length);
    expect(read<unknown>("NetXdQprcVkpa_nonces")).toEqual(after.map(({ block, nonce }) => ({ block, nonce })));
    const now = read<typeof marks>("NetXdQprcVkpa_highwatermarks");
    expect(now.blocks[0]?.highwatermark.level).toBeGreaterThan(last);
    // The public key that the signer told.
    expect(read<unknown>("public_keys")).toEqual([
      { name: "boot", value: { locator: `remote:${address}`, key: key.publicKey } },
    ]);
    const temporary = [...recorded, "public_keys"].map((name) => `${name}<6 hex>.tmp`);
    expect([...seen].filter((name) => name.endsWith(".tmp")).sort()).toEqual(temporary.sort());
    expect(readdirSync(client).filter((name) => name.endsWith(".tmp"))).toEqual([]);
    expect(statSync(join(client, "wallet_lock")).mode & 0o777).toBe(0o644 & ~process.umask());
  });
});
