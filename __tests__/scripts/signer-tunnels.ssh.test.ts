/** The real gate and a signer at home, joined by two real OpenSSH tunnels: one dead, both dead, back again. */
import { spawn, type ChildProcess } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { join } from "node:path";
import { keyHashHex } from "../../tezos/addresses";
import type { Leadership } from "../../contract/leadership";
import { ports } from "../../contract/ports";
import type { GateStatus, SidecarStatus, SupervisorStatus } from "../../contract/status";
import { eligibility } from "../../daemons/elector/health";
import { OctezSigner } from "../../lab/doubles/signer-server";
import { testKey } from "../../lab/doubles/signing-keys";
import { expectBase58 } from "../../tezos/base58";
import { verifySignature } from "../../tezos/keys";
import { encodeVoteRequest } from "../../tezos/signing-request";
import { solidBakerFile } from "../helpers/baker-file";
import { bundlePath } from "../helpers/bundle";
import { startKube, testNamespace, type TestKube } from "../helpers/kube";
import { startTestNode, testChainId, type TestNode } from "../helpers/octez-node";
import {
  keepTunnel,
  loopback,
  makeKey,
  missingForSsh,
  removeFolder,
  signerHost,
  startTunnelPod,
  temporaryFolder,
  until,
  writeOutputs,
  type TunnelPod,
} from "../helpers/sshd";

const missing = missingForSsh();
if (missing) console.warn(`skipped: gate through tunnels: ${missing}`);

(missing ? describe.skip : describe)("the gate through two tunnels", () => {
  const folder = temporaryFolder();
  const [home, pod] = [loopback(), loopback()];
  const key = testKey("tz1", "tunnels");
  const ssh = missing ? { file: "", publicKey: "" } : makeKey(folder, "id_ed25519");
  let [tunnelPods, kept]: [TunnelPod[], ReturnType<typeof keepTunnel>[]] = [[], []];
  let [kube, node, signer, elector, gate]: [TestKube?, TestNode?, OctezSigner?, Server?, ChildProcess?] = [];
  let [level, log] = [1000, ""];

  /** A stand-in of the elector: this pod holds for ever. */
  const leadership: Leadership = {
    holder: "alice-as-0",
    holderIdentity: "alice-as-0_u0",
    self: "alice-as-0_u0",
    leaseUid: "l",
    epoch: 1,
    state: "active",
    reason: "test",
    validUntilNs: String(process.hrtime.bigint() + 3_600_000_000_000n),
    gate: "open",
    daemons: "run",
    nonces: "follow",
  };

  /** Everything else of the pod is well. */
  const sidecar: SidecarStatus = {
    ...{ live: true, liveReason: "", ready: true, reason: "", connections: 10 },
    ...{ head: null, chainId: null, syncState: null },
  };
  const supervisor: SupervisorStatus = { running: true, crashLooping: false, reason: "", daemons: [] };
  const status = async (): Promise<GateStatus> =>
    (await fetch(`http://${pod}:${ports.gateHealth}/status`)).json() as Promise<GateStatus>;
  /** One attestation of the next level, as octez-baker asks for it. */
  async function attest(): Promise<number> {
    node?.show(++level, Date.now());
    const bytes = encodeVoteRequest({
      tag: 21,
      chainId: expectBase58("chainId", testChainId),
      level,
      round: 0,
      payloadHash: new Uint8Array(32).fill(1),
    });
    for (let attempt = 0; ; attempt++) {
      const body = JSON.stringify(Buffer.from(bytes).toString("hex"));
      const response = await fetch(`http://${pod}:${ports.gate}/keys/${key.address}`, { method: "POST", body });
      const text = await response.text();
      // The gate has its head from the node's stream, which may be a moment behind this loop.
      if (attempt < 50 && text.includes("level-implausible")) {
        await new Promise((done) => setTimeout(done, 100));
        continue;
      }
      if (response.status === 200)
        expect(verifySignature(key.publicKey, bytes, (JSON.parse(text) as { signature: string }).signature)).toBe(true);
      return response.status;
    }
  }

  beforeAll(async () => {
    signer = new OctezSigner({ keys: [key] });
    await signer.start(home, 6732);
    tunnelPods = [await startTunnelPod(folder, ssh.publicKey), await startTunnelPod(folder, ssh.publicKey)];
    kept = tunnelPods.map((target) => {
      const outputs = writeOutputs(folder, {
        zone: {
          host: target.address,
          port: target.sshPort,
          hostKey: target.hostKey,
          listen: `${target.address}:${target.signerPort}`,
        },
      });
      const options = ["--outputs", outputs, "--state-dir", folder, "--identity", ssh.file, "--signer-address", home];
      signerHost(["install", ...options, "--root", join(folder, "root"), "--yes"]);
      return keepTunnel(
        signerHost(["command", "--zone", "zone", ...options]).stdout.replace(
          `UserKnownHostsFile=${folder}/`,
          `UserKnownHostsFile=${folder}/root${folder}/`,
        ),
      );
    });
    kube = await startKube();
    const watermark = `wm-${keyHashHex(key.address)}`;
    kube.api.apply("configmaps", testNamespace, {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: watermark, namespace: testNamespace, labels: { baker: "alice" } },
      data: {},
    });
    node = await startTestNode({ host: pod, port: ports.octezRpc, level, timestampMs: Date.now() });
    elector = createServer((request, response) => {
      if (request.url === "/members") return void response.end("[]");
      response.write(`${JSON.stringify(leadership)}\n`);
      if (!request.url?.includes("watch")) response.end();
    });
    await new Promise<void>((done) => elector?.listen(ports.elector, pod, done));
    const state = join(folder, "state");
    mkdirSync(state);
    const file = solidBakerFile({
      topology: "active-standby",
      delegate: key.address,
      keys: [{ address: key.address, alias: "alice", watermark, signers: ["home1"] }],
      signers: [
        {
          name: "home1",
          deterministic: true,
          endpoints: tunnelPods.map((target, i) => ({
            zone: `zone-${i}`,
            url: `http://${target.address}:${target.signerPort}`,
          })),
        },
      ],
    });
    writeFileSync(join(folder, "baker.json"), JSON.stringify(file));
    const env = {
      PATH: process.env.PATH,
      TOG_POD_NAME: "alice-as-0",
      TOG_POD_UID: "u0",
      TOG_POD_ADDRESS: pod,
      TOG_LOCAL_ADDRESS: pod,
      TOG_NAMESPACE: testNamespace,
      TOG_ZONE: "zone-0",
      TOG_KUBE_URL: kube.url,
      TOG_KUBE_DIR: kube.kubeDir("gate"),
      TOG_NODE_DIR: folder,
      TOG_CLIENT_DIR: folder,
      TOG_STATE_DIR: state,
      TOG_SECRETS_DIR: folder,
      TOG_CONFIG_FILE: join(folder, "baker.json"),
    };
    gate = spawn(process.execPath, [await bundlePath(), "signing-gate"], { env, stdio: ["ignore", "pipe", "pipe"] });
    gate.stdout?.on("data", (data: Buffer) => (log += data.toString()));
    await until(
      "the key is open",
      async () => {
        node?.show(++level, Date.now());
        return status().then(
          (now) => now.keys[0]?.state === "open" && now.signers.every(({ answers }) => answers),
          () => false,
        );
      },
      30_000,
    ).catch((error: Error) => {
      throw new Error(`${error.message}\n${log}`);
    });
    // Above the floor of a first installation; and the gate follows the head by its stream.
    for (let i = 0; i < 10; i++) node.show(++level, Date.now());
    await new Promise((done) => setTimeout(done, 1000));
  }, 60_000);

  afterAll(async () => {
    gate?.kill("SIGKILL");
    for (const tunnel of kept) await tunnel.stop();
    for (const target of tunnelPods) await target.stop();
    elector?.closeAllConnections();
    await Promise.all([new Promise((done) => elector?.close(done)), node?.stop(), signer?.close(), kube?.stop()]);
    removeFolder(folder);
  });

  test("signs through the tunnel of its own zone", async () => {
    expect(await attest()).toBe(200);
  });

  test("goes on with one of two tunnels dead: at most one failed request", async () => {
    await tunnelPods[0]?.stop();
    const answers: number[] = [];
    for (let i = 0; i < 8; i++) answers.push(await attest());
    console.log(`one tunnel dead: answers ${answers.join(" ")}`);
    expect(answers.filter((code) => code !== 200).length).toBeLessThanOrEqual(1);
    expect((await status()).signersAnswering).toBe(1);
  }, 60_000);

  test("with both dead no signer answers, the elector is told, and the request ends by its budget", async () => {
    await tunnelPods[1]?.stop();
    await until("the gate says that no signer answers", async () => (await status()).signersAnswering === 0, 15_000);
    expect([503, 504]).toContain(await attest());
    const metrics = await (await fetch(`http://${pod}:${ports.gateHealth}/metrics`)).text();
    expect(metrics).toMatch(/tog_gate_signers_answering\{[^}]*\} 0/);
    expect(eligibility({ sidecar, supervisor, gate: await status(), reconciled: true })).toEqual({
      eligible: false,
      reason: "no-signer-answers",
    });
  }, 60_000);

  test("with a tunnel back it signs again", async () => {
    const [, second] = tunnelPods;
    if (!second) throw new Error("no second tunnel");
    const hostKey = { file: join(folder, `host-${second.address.replaceAll(".", "-")}`), publicKey: second.hostKey };
    tunnelPods[1] = await startTunnelPod(folder, ssh.publicKey, second.address, hostKey);
    const back = await until("a signer answers", async () => (await status()).signersAnswering === 1, 15_000);
    console.log(`usable again ${Math.round(back)} ms after its pod was back`);
    expect(await attest()).toBe(200);
    expect(eligibility({ sidecar, supervisor, gate: await status(), reconciled: true }).eligible).toBe(true);
  }, 60_000);
});
