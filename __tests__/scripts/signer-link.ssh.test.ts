/**
 * The signer link with the real OpenSSH: the synthesized sshd configuration on one side, the command line of
 * scripts/signer-host on the other.
 */
import { execFile, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createServer as createHttp, get, type Server } from "node:http";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { OctezSigner } from "../../lab/doubles/signer-server";
import { testKey } from "../../lab/doubles/signing-keys";
import { TcpSigner } from "../../lab/doubles/tcp-signer";
import type { SignerEntry } from "../../lab/checker/checker";
import { exchangeOverTcp } from "../../daemons/runtime/tcp-exchange";
import { request } from "../helpers/gates";
import {
  answers,
  keepTunnel,
  listens,
  loopback,
  makeKey,
  missingForSsh,
  removeFolder,
  signerHost,
  signerHostPath,
  sshUser,
  startTunnelPod,
  stopGroup,
  temporaryFolder,
  until,
  writeOutputs,
  type TunnelPod,
} from "../helpers/sshd";

const missing = missingForSsh();
if (missing) console.warn(`skipped: signer link: ${missing}`);
const suite = missing ? describe.skip : describe;

const listen = (server: Server, host: string): Promise<void> => new Promise((done) => server.listen(6732, host, done));
const body = (host: string, port: number, timeout = 2000): Promise<string> =>
  new Promise((done) => {
    const request = get({ host, port, path: "/authorized_keys", timeout, agent: false }, (response) => {
      let text = "";
      response.on("data", (data: Buffer) => (text += data.toString()));
      response.on("end", () => done(text));
    });
    request.on("timeout", () => request.destroy());
    request.on("error", (error) => done(`error: ${error.message}`));
  });

suite("the signer link", () => {
  const folder = temporaryFolder();
  const home = loopback();
  const key = missing ? { file: "", publicKey: "" } : makeKey(folder, "id_ed25519");
  const cleanups: (() => Promise<void>)[] = [];
  let signer: Server;
  let pod: TunnelPod;

  /** What `signer-host command` prints for a pod that is reached through `at`. */
  function command(at: { host: string; port: number }, target = pod): string {
    const outputs = writeOutputs(folder, {
      zone: { ...at, hostKey: target.hostKey, listen: `${target.address}:${target.signerPort}` },
    });
    const options = ["--outputs", outputs, "--state-dir", folder, "--identity", key.file, "--signer-address", home];
    expect(
      signerHost(
        ["install", ...options, "--root", "/", "--yes"].map((word) => (word === "/" ? join(folder, "root") : word)),
      ).status,
    ).toBe(0);
    // The units name the real known_hosts; install wrote it below --root.
    const line = signerHost(["command", "--zone", "zone", ...options]).stdout;
    return line.replace(
      `UserKnownHostsFile=${folder}/known_hosts`,
      `UserKnownHostsFile=${folder}/root${folder}/known_hosts`,
    );
  }
  const tunnel = (line: string) => {
    const kept = keepTunnel(line);
    cleanups.push(kept.stop);
    return kept;
  };
  const ssh = (args: string[], identity = key.file, at = pod, env = process.env) =>
    spawnSync(
      "ssh",
      [
        ...[
          "-F",
          "none",
          "-i",
          identity,
          "-p",
          String(at.sshPort),
          "-o",
          "BatchMode=yes",
          "-o",
          "IdentitiesOnly=yes",
          "-o",
          "StrictHostKeyChecking=no",
        ],
        ...[
          "-o",
          "UserKnownHostsFile=/dev/null",
          "-o",
          "ConnectTimeout=3",
          "-o",
          "ExitOnForwardFailure=yes",
          ...args,
          `${sshUser}@${at.address}`,
        ],
      ],
      { encoding: "utf8", timeout: 4000, env },
    );

  beforeAll(async () => {
    signer = createHttp((_request, response) => response.end('{"authorized_keys":[]}'));
    await listen(signer, home);
    pod = await startTunnelPod(folder, key.publicKey);
  });
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0)) await cleanup();
  });
  afterAll(async () => {
    await pod.stop();
    await new Promise((done) => signer.close(done));
    removeFolder(folder);
  });

  test("carries a request to the signer at home, and is back within 10 s after it was cut", async () => {
    // A proxy stands for the line, so that the line can be cut.
    const sockets = new Set<Socket>();
    const line = createServer((client) => {
      const upstream = connect(pod.sshPort, pod.address);
      for (const socket of [client, upstream]) {
        sockets.add(socket);
        socket.on("error", () => undefined).on("close", () => (client.destroy(), upstream.destroy()));
      }
      client.pipe(upstream).pipe(client);
    });
    const address = loopback();
    await new Promise<void>((done) => line.listen(8443, address, done));
    cleanups.push(
      () => new Promise((done) => (line.close(() => done()), sockets.forEach((socket) => socket.destroy()))),
    );
    tunnel(command({ host: address, port: 8443 }));
    await until("the tunnel is up", async () => (await body(pod.address, pod.signerPort)) === '{"authorized_keys":[]}');
    for (const socket of sockets) socket.destroy();
    const back = await until("the tunnel is back", async () =>
      (await body(pod.address, pod.signerPort)).includes("authorized"),
    );
    console.log(`tunnel cut and usable again after ${Math.round(back)} ms`);
    expect(back).toBeLessThan(10_000);
  });

  test("a half-open connection is noticed on both sides within 15 s and replaced", async () => {
    let blackhole = false;
    const sockets = new Set<Socket>();
    const line = createServer((client) => {
      const upstream = connect(pod.sshPort, pod.address);
      const born = blackhole;
      const forward = (from: Socket, to: Socket) =>
        from.on("data", (data) => {
          // Once black-holed, an old connection swallows every byte; new ones pass.
          if (!blackhole || born) to.write(data);
        });
      forward(client, upstream);
      forward(upstream, client);
      for (const socket of [client, upstream]) {
        sockets.add(socket);
        socket.on("error", () => undefined);
      }
      // Ends are swallowed too: neither side learns of the other's close over a dead line.
      client.on("close", () => (!blackhole || born) && upstream.destroy());
      upstream.on("close", () => (!blackhole || born) && client.destroy());
    });
    const address = loopback();
    await new Promise<void>((done) => line.listen(8443, address, done));
    cleanups.push(
      () => new Promise((done) => (line.close(() => done()), sockets.forEach((socket) => socket.destroy()))),
    );
    const kept = tunnel(command({ host: address, port: 8443 }));
    await until("the tunnel is up", async () => (await body(pod.address, pod.signerPort)).includes("authorized"));
    blackhole = true;
    // The gate asks for health every two seconds all the while, as in a pod.
    const probe = setInterval(() => void body(pod.address, pod.signerPort, 1000), 2000);
    cleanups.push(() => Promise.resolve(clearInterval(probe)));
    const noticed = await until("the old listener is gone", () => !listens(pod.address, pod.signerPort), 20_000);
    const back = await until(
      "the tunnel is up again",
      async () => (await body(pod.address, pod.signerPort)).includes("authorized"),
      20_000,
    );
    console.log(
      `half-open connection dropped after ${Math.round(noticed)} ms, usable again after ${Math.round(noticed + back)} ms, restarts ${kept.restarts()}`,
    );
    expect(noticed).toBeLessThan(15_000);
    expect(noticed + back).toBeLessThan(20_000);
    expect(kept.restarts()).toBeGreaterThan(0);
  }, 60_000);

  test("a signer's key opens no shell and runs no command", () => {
    for (const args of [["-T"], ["-tt"], ["-s"]]) {
      const result = spawnSync(
        "ssh",
        [
          "-F",
          "none",
          "-i",
          key.file,
          "-p",
          String(pod.sshPort),
          "-o",
          "BatchMode=yes",
          "-o",
          "StrictHostKeyChecking=no",
          "-o",
          "UserKnownHostsFile=/dev/null",
          ...args,
          `${sshUser}@${pod.address}`,
          args[0] === "-s" ? "sftp" : "id",
        ],
        { encoding: "utf8", timeout: 5000 },
      );
      expect(result.stdout).toBe("");
      expect(result.status).not.toBe(0);
      // The key itself was accepted: it is the session that is refused.
      expect(result.stderr).not.toContain("Permission denied");
    }
  });

  test("a signer's key forwards no other port, in no direction", () => {
    for (const [host, port] of [
      [pod.address, 6733],
      ["0.0.0.0", 6732],
      [loopback(), 6732],
    ] as const) {
      const result = ssh(["-N", "-R", `${host}:${port}:${home}:6732`]);
      expect(result.stderr).toContain("remote port forwarding failed");
      expect(result.status).toBe(255);
      expect(listens(host, port)).toBe(false);
    }
  });

  test("a signer's key reaches nothing from inside the pod: no local, dynamic or stdio forwarding", async () => {
    const api = createHttp((_request, response) => response.end("the API server"));
    const apiAddress = loopback();
    await listen(api, apiAddress);
    try {
      const stdio = ssh(["-W", `${apiAddress}:6732`]);
      expect(stdio.status).not.toBe(0);
      expect(stdio.stdout).toBe("");
      expect(stdio.stderr).toMatch(/administratively prohibited|open failed/);
      const bind = loopback();
      const kept = keepTunnel(
        [
          "ssh",
          "-F",
          "none",
          "-N",
          "-i",
          key.file,
          "-p",
          String(pod.sshPort),
          "-o",
          "BatchMode=yes",
          "-o",
          "StrictHostKeyChecking=no",
          "-o",
          "UserKnownHostsFile=/dev/null",
          "-L",
          `${bind}:9999:${apiAddress}:6732`,
          `${sshUser}@${pod.address}`,
        ].join(" "),
      );
      cleanups.push(kept.stop);
      await until("the local end listens", () => answers(bind, 9999), 5000);
      expect(await body(bind, 9999)).toMatch(/^error/);
      await until(
        "sshd refused it",
        () => /prohibited|refused|not permitted|denied/i.test(pod.log() + kept.output()),
        3000,
      );
    } finally {
      await new Promise((done) => api.close(done));
    }
  });

  test("a signer's key is nothing at the tunnel of another signer, and reaches it through its own neither", async () => {
    const other = await startTunnelPod(folder, makeKey(folder, `home2-${process.hrtime.bigint()}`).publicKey);
    cleanups.push(other.stop);
    expect(ssh(["-N", "-R", `${other.address}:6732:${home}:6732`], key.file, other).stderr).toContain(
      "Permission denied (publickey)",
    );
    for (const port of [other.sshPort, other.signerPort]) {
      const through = ssh(["-W", `${other.address}:${port}`]);
      expect([through.status, through.stdout]).toEqual([255, ""]);
      expect(through.stderr).toMatch(/administratively prohibited|open failed/);
    }
    expect(await answers(other.address, other.signerPort)).toBe(false);
  });

  test("an agent gets no socket in the pod", async () => {
    const socket = join(folder, "agent");
    const agent = spawn("ssh-agent", ["-D", "-a", socket], { stdio: "ignore" });
    cleanups.push(() => stopGroup(agent));
    await until("the agent is there", () => existsSync(socket));
    const env = { ...process.env, SSH_AUTH_SOCK: socket };
    expect(spawnSync("ssh-add", ["-q", key.file], { env }).status).toBe(0);
    const seen = pod.log().length;
    expect(ssh(["-A", "-T"], key.file, pod, env).status).toBe(255);
    // MaxSessions 0: there is no session that could carry a request for it.
    await until(
      "the session is refused",
      () => /Accepted publickey[^]*no more sessions/.test(pod.log().slice(seen)),
      3000,
    );
    expect(readdirSync("/tmp").filter((name) => name.startsWith("ssh-"))).toEqual([]);
  });

  test("socket forwarding is refused", () => {
    const result = ssh(["-N", "-R", `/tmp/tog-${process.pid}.sock:${home}:6732`]);
    expect(result.status).toBe(255);
    expect(existsSync(`/tmp/tog-${process.pid}.sock`)).toBe(false);
  });

  test("without the key nobody gets in: other keys, passwords, other users", () => {
    const other = makeKey(folder, `other-${process.hrtime.bigint()}`);
    expect(ssh(["-N"], other.file).stderr).toContain("Permission denied (publickey)");
    expect(ssh(["-N", "-o", "PreferredAuthentications=password,keyboard-interactive"]).stderr).toContain(
      "Permission denied (publickey)",
    );
    const root = spawnSync(
      "ssh",
      [
        "-F",
        "none",
        "-N",
        "-i",
        key.file,
        "-p",
        String(pod.sshPort),
        "-o",
        "BatchMode=yes",
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
        `backup@${pod.address}`,
      ],
      { encoding: "utf8", timeout: 5000 },
    );
    expect(root.stderr).toContain("Permission denied (publickey)");
  });

  test("a port scan of the pod shows sshd, and the signer only while its tunnel is up", async () => {
    const scan = async (): Promise<number[]> => {
      const open: number[] = [];
      for (let from = 1; from < 65_536; from += 512) {
        await Promise.all(
          Array.from({ length: Math.min(512, 65_536 - from) }, (_, i) => from + i).map(async (port) => {
            if (await answers(pod.address, port)) open.push(port);
          }),
        );
      }
      return open.sort((a, b) => a - b);
    };
    // Services of this machine on 0.0.0.0 answer on every loopback address; they are no part of the pod.
    const machine = new Set(readdirSync("/proc/self/net").includes("tcp") ? wildcardPorts() : []);
    expect((await scan()).filter((port) => !machine.has(port))).toEqual([pod.sshPort]);
    tunnel(command({ host: pod.address, port: pod.sshPort }));
    await until("the tunnel is up", () => answers(pod.address, pod.signerPort));
    expect((await scan()).filter((port) => !machine.has(port))).toEqual([pod.sshPort, pod.signerPort]);
  }, 120_000);

  test("the tunnel refuses a host key that is not the one of the outputs", async () => {
    const line = command({ host: pod.address, port: pod.sshPort });
    await pod.stop();
    const address = pod.address;
    pod = await startTunnelPod(folder, key.publicKey, address, makeKey(folder, `imposter-${process.hrtime.bigint()}`));
    const kept = tunnel(line);
    await until("ssh says why", () => kept.output().includes("Host key verification failed"), 8000);
    expect(await answers(pod.address, pod.signerPort)).toBe(false);
  });
});

function wildcardPorts(): number[] {
  return ["/proc/net/tcp", "/proc/net/tcp6"]
    .filter((path) => existsSync(path))
    .flatMap((path) => readFileSync(path, "utf8").split("\n").slice(1))
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[3] === "0A" && /^0+:/.test(fields[1] ?? ""))
    .map((fields) => parseInt((fields[1] ?? "").split(":")[1] ?? "0", 16));
}

suite("scripts/signer-host", () => {
  const folder = temporaryFolder();
  const address = loopback();
  afterAll(() => removeFolder(folder));
  const outputs = () =>
    writeOutputs(folder, {
      "us-central1-a": {
        host: address,
        port: 8443,
        hostKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAr4",
        listen: "0.0.0.0:6732",
      },
      "us-central1-b": { host: address, port: 8444, hostKey: "", listen: "" },
    });

  test("changes nothing without --yes, and nothing the second time", () => {
    const file = outputs();
    const root = join(folder, "host");
    const dry = signerHost(["install", "--outputs", file, "--root", root]);
    expect(dry.stdout).toContain("Nothing was changed");
    expect(existsSync(root)).toBe(false);
    expect(signerHost(["install", "--outputs", file, "--root", root, "--yes"]).stdout.match(/^wrote/gm)).toHaveLength(
      4,
    );
    const again = signerHost(["install", "--outputs", file, "--root", root, "--yes"]).stdout;
    expect(again).not.toMatch(/^wrote/m);
    expect(again.match(/^unchanged/gm)).toHaveLength(4);
  });

  test("its units restrict the signer to consensus and systemd accepts them", () => {
    const root = join(folder, "host");
    signerHost(["install", "--outputs", outputs(), "--root", root, "--yes", "--octez-signer", "/usr/bin/true"]);
    const units = join(root, "etc/systemd/system");
    expect(readFileSync(join(units, "tezos-signer.service"), "utf8")).toContain(
      "--require-authentication launch http signer --address 127.0.0.1 --port 6732 --magic-bytes 0x11,0x12,0x13 --check-high-watermark",
    );
    if (!existsSync("/usr/bin/systemd-analyze")) return console.warn("skipped: systemd-analyze is not installed");
    const verify = spawnSync("systemd-analyze", ["verify", ...readdirSync(units).map((unit) => join(units, unit))], {
      encoding: "utf8",
    });
    expect(verify.stderr).toBe("");
    expect(verify.status).toBe(0);
  });

  const [consensus, companion] = [testKey("tz4", "consensus"), testKey("tz4", "companion")];
  const tz4Outputs = () =>
    writeOutputs(
      folder,
      { z: { host: address, port: 8443, hostKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAr4", listen: "0.0.0.0:6732" } },
      [consensus.address, companion.address],
    );
  const unitsOf = (root: string) =>
    readdirSync(join(root, "etc/systemd/system"))
      .filter((unit) => !unit.includes("tunnel"))
      .map((unit) => [
        unit,
        /^ExecStart=(.*)$/m.exec(readFileSync(join(root, "etc/systemd/system", unit), "utf8"))?.[1],
      ]);
  const octezSigner =
    "/usr/bin/octez-signer --base-dir /var/lib/tezos-signer/signer --require-authentication launch http signer --address 127.0.0.1 --port 6732 --magic-bytes 0x11,0x12,0x13 --check-high-watermark --allow-to-prove-possession";
  test.each([
    ["octez-signer", [["tezos-signer.service", octezSigner]], undefined],
    ["tezsign", [["tezos-signer.service", "/usr/local/bin/tezsign run --listen 127.0.0.1:6732"]], undefined],
    [
      "tezsign-behind-octez-signer",
      [
        ["tezos-signer-tezsign.service", "/usr/local/bin/tezsign run --listen 127.0.0.1:20090"],
        ["tezos-signer.service", octezSigner],
      ],
      "http://127.0.0.1:20090",
    ],
    ["russignol", [["tezos-signer.service", octezSigner]], "tcp://169.254.1.1:7732"],
  ])("sets up %s, and a second run knows it without being told", (device, units, behind) => {
    const root = join(folder, device);
    const install = ["install", "--outputs", tz4Outputs(), "--root", root, "--yes"];
    const first = signerHost([...install, "--device", device]);
    expect([first.status, first.stderr]).toEqual([0, ""]);
    expect(unitsOf(root)).toEqual(units);
    const imports =
      behind === undefined
        ? []
        : [consensus, companion].map((key) => `import secret key ${key.address} ${behind}/${key.address} --force`);
    expect([...first.stdout.matchAll(/import secret key .*/g)].map(([text]) => text)).toEqual(imports);
    expect(signerHost(install).stdout).not.toMatch(/^wrote/m);
    expect(unitsOf(root)).toEqual(units);
  });
  describe("where the tunnels carry octez-signer's TCP protocol", () => {
    const outputs = (signer = "home1") => {
      const file = writeOutputs(
        folder,
        {
          z: { host: address, port: 8443, hostKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAr4", listen: "0.0.0.0:6732" },
        },
        [consensus.address, companion.address],
        "",
        "tcp",
      );
      writeFileSync(file, readFileSync(file, "utf8").replace("home1", signer));
      return file;
    };
    const install = (root: string, file: string, ...more: string[]) =>
      signerHost(["install", "--outputs", file, "--root", root, "--yes", ...more]);
    const tunnelOf = (root: string, signer = "home1") =>
      readFileSync(join(root, `etc/systemd/system/tezos-signer-tunnel-alice-${signer}-z.service`), "utf8");
    test("they end at the Russignol itself", () => {
      const root = join(folder, "tcp-russignol");
      expect(install(root, outputs())).toMatchObject({ status: 0, stderr: "" });
      expect(unitsOf(root)).toEqual([]);
      expect(tunnelOf(root)).toContain(" -R 0.0.0.0:6732:169.254.1.1:7732 ");
      expect(install(root, outputs()).stdout).not.toMatch(/^wrote/m);
    });
    test("octez-signer serves it, and a second run knows so", () => {
      const root = join(folder, "tcp-octez-signer");
      install(root, outputs(), "--device", "octez-signer");
      const socket = octezSigner.replace("http signer", "socket signer").replace("6732", "7732");
      expect(unitsOf(root)).toEqual([["tezos-signer.service", socket]]);
      expect(tunnelOf(root)).toContain(" -R 0.0.0.0:6732:127.0.0.1:7732 ");
      expect(install(root, outputs()).stdout).not.toMatch(/^wrote/m);
    });
    test("an octez-signer that answers another link by HTTP stays as it is", () => {
      const root = join(folder, "tcp-and-http");
      expect(install(root, tz4Outputs()).status).toBe(0);
      const { status, stderr } = install(root, outputs("home2"), "--device", "octez-signer");
      expect([status, stderr]).toEqual([2, expect.stringContaining("answers another link by octez-signer's other")]);
      expect(unitsOf(root)).toEqual([["tezos-signer.service", octezSigner]]);
      // A device that answers itself is beside it.
      const place = ["--device", "russignol", "--device-address", "10.0.0.7:7733"];
      expect(install(root, outputs("home2"), ...place).status).toBe(0);
      expect(unitsOf(root)).toEqual([["tezos-signer.service", octezSigner]]);
      expect(tunnelOf(root, "home2")).toContain(":10.0.0.7:7733 ");
      // And is known from its tunnel, as octez-signer is from its unit.
      expect(install(root, outputs("home2")).stdout).not.toMatch(/^wrote/m);
      expect(install(root, tz4Outputs()).stdout).not.toMatch(/^wrote/m);
    });
    test("a place that is none is refused", () => {
      const { status, stderr } = install(join(folder, "tcp-place"), outputs(), "--device-address", "10.0.0.7");
      expect([status, stderr]).toEqual([2, expect.stringContaining('is HOST:PORT, got "10.0.0.7"')]);
    });
    test("TezSign, which does not speak it, is refused", () => {
      const { status, stderr } = install(join(folder, "tcp-tezsign"), outputs(), "--device", "tezsign");
      expect([status, stderr]).toEqual([2, expect.stringContaining("leave protocol out of that signer")]);
    });
  });
  test("another device takes the former one's units away", () => {
    const root = join(folder, "exchanged");
    const install = (device: string) =>
      signerHost(["install", "--outputs", tz4Outputs(), "--root", root, "--yes", "--device", device]);
    install("tezsign-behind-octez-signer");
    install("russignol");
    expect(unitsOf(root)).toEqual([["tezos-signer.service", octezSigner]]);
  });
  test("a second link whose baker has no tz4 key takes no proof of possession from the first one's", () => {
    const root = join(folder, "two-links");
    const install = (outputs: string) => signerHost(["install", "--outputs", outputs, "--root", root, "--yes"]);
    expect(install(tz4Outputs()).status).toBe(0);
    const link = {
      host: address,
      port: 8444,
      hostKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAr4",
      listen: "0.0.0.0:6732",
    };
    expect(install(writeOutputs(folder, { z: link }, [testKey("tz1", "held").address])).status).toBe(0);
    expect(unitsOf(root)).toEqual([["tezos-signer.service", octezSigner]]);
  });
  test("no proof of possession is given where no tz4 key signs, and a device for tz4 keys is refused there", () => {
    const root = join(folder, "tz1");
    const held = testKey("tz1", "held").address;
    const file = writeOutputs(
      folder,
      { z: { host: address, port: 8443, hostKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAr4", listen: "0.0.0.0:6732" } },
      [held],
    );
    signerHost(["install", "--outputs", file, "--root", root, "--yes"]);
    expect(unitsOf(root)).toEqual([["tezos-signer.service", octezSigner.replace(" --allow-to-prove-possession", "")]]);
    for (const device of ["tezsign", "russignol"]) {
      const { status, stderr } = signerHost(["install", "--outputs", file, "--root", root, "--device", device]);
      expect([status, stderr]).toEqual([
        2,
        expect.stringContaining(`${device} holds tz4 keys only, and alice signs with none`),
      ]);
    }
    expect(signerHost(["install", "--outputs", file, "--device", "trezor"]).stderr).toContain('got "trezor"');
  });

  test("refuses outputs that would smuggle words into a unit", () => {
    const file = writeOutputs(folder, {
      z: { host: "1.2.3.4 -oProxyCommand=x", port: 1, hostKey: "ssh-ed25519 AAAA", listen: "0.0.0.0:6732" },
    });
    const result = signerHost(["install", "--outputs", file]);
    expect(result.status).toBe(2);
    expect(result.stderr).toContain('letters, digits and . _ : / @ [ ] - only, got "1.2.3.4 -oProxyCommand=x"');
  });

  test("is clean for shellcheck", () => {
    if (!existsSync("/usr/bin/shellcheck")) return console.warn("skipped: shellcheck is not installed");
    expect(spawnSync("shellcheck", [signerHostPath], { encoding: "utf8" }).stdout).toBe("");
  });
});

suite("the home side as a person sets it up", () => {
  const folder = temporaryFolder();
  const root = join(folder, "host");
  const state = "/var/lib/tezos-signer";
  const home = loopback();
  const [held, client] = [testKey("tz1", "home"), testKey("tz1", "client")];
  const signer = new OctezSigner({ keys: [held], requireAuthentication: true, authorizedKeys: [client.publicKey] });
  let pod: TunnelPod;

  /** Asynchronous: the signer runs in this process. */
  const run = (args: string[], env: NodeJS.ProcessEnv = process.env): Promise<{ status: number; stdout: string }> =>
    new Promise((done) =>
      execFile(signerHostPath, args, { encoding: "utf8", timeout: 60_000, env }, (error, stdout) =>
        done({ status: error ? Number(error.code ?? 1) : 0, stdout }),
      ),
    );
  const link = (
    changes: { port?: number; hostKey?: string; addresses?: string[]; client?: string; protocol?: "tcp" } = {},
  ) =>
    writeOutputs(
      folder,
      {
        zone: {
          host: pod.address,
          port: pod.sshPort,
          hostKey: pod.hostKey,
          listen: `${pod.address}:${pod.signerPort}`,
          ...changes,
        },
      },
      changes.addresses ?? [held.address],
      changes.client ?? client.address,
      changes.protocol,
    );
  const doctor = async (more: string[] = [], file = link(), env?: NodeJS.ProcessEnv) => {
    const rooted = env ? [] : ["--root", root];
    const { status, stdout } = await run(
      ["doctor", "--outputs", file, ...rooted, "--signer-address", home, ...more],
      env,
    );
    const failed = [...stdout.matchAll(/^FAIL {2}(.*)\n {6}-> (.*)$/gm)].map(([, hop, remedy]) => ({ hop, remedy }));
    expect(status).toBe(failed.length > 0 ? 1 : 0);
    return { failed, stdout };
  };

  beforeAll(async () => {
    await signer.start(home, 6732);
    const made = await run(["key", "--root", root, "--yes"]);
    const publicKey = readFileSync(join(root, state, "id_ed25519.pub"), "utf8").trim();
    expect(made.stdout).toContain(publicKey);
    pod = await startTunnelPod(folder, publicKey);
    expect((await run(["install", "--outputs", link(), "--root", root, "--yes"])).status).toBe(0);
  });
  afterAll(async () => {
    await pod.stop();
    await signer.close();
    removeFolder(folder);
  });

  test("the doctor finds every hop sound", async () => {
    const { failed, stdout } = await doctor();
    expect(failed).toEqual([]);
    expect(stdout.match(/^ok/gm)).toHaveLength(9);
    expect(stdout).toContain("Every hop that this machine can see is sound.");
  });
  const broken: [string, () => Promise<{ failed: { hop?: string; remedy?: string }[] }>, RegExp, RegExp][] = [
    ["the signer is down", () => doctor(["--signer-port", "6733"]), /the signer answers on/, /is the Ledger unlocked/],
    [
      "the signer has another key",
      () => doctor([], link({ addresses: [testKey("tz1", "other").address] })),
      /the signer holds tz1/,
      /import secret key tz1\w+ ledger:/,
    ],
    [
      "the signer does not know the baker",
      () => doctor([], link({ client: held.address })),
      /the signer lets the baker in \(tz1/,
      /add authorized key PUBLIC_KEY --name alice/,
    ],
    [
      "the baker has nothing to show",
      () => doctor([], link({ client: "" })),
      /the signer lets the baker in \(which has no/,
      /set authentication_key of alice/,
    ],
    [
      "the tunnel's key is not there",
      () => doctor(["--identity", "/nowhere/key"]),
      /the tunnel's key .*nowhere.key is readable/,
      /install --yes/,
    ],
    [
      "nothing was installed",
      () => doctor(["--state-dir", "/nowhere", "--identity", `${state}/id_ed25519`]),
      /the link's host keys are known in .*nowhere/,
      /install --yes/,
    ],
    [
      "the port is closed",
      () => doctor([], link({ port: 2223 })),
      /zone zone: .*:2223 is reachable/,
      /load balancer .*source_ranges/,
    ],
    [
      "somebody else answers",
      () => doctor([], link({ hostKey: makeKey(folder, `imposter-${process.hrtime.bigint()}`).publicKey })),
      /zone zone: the host key is the one of the outputs/,
      /do not go on/,
    ],
    [
      "the link does not know the key",
      () => {
        makeKey(join(root, state), "other");
        return doctor(["--identity", `${state}/other`]);
      },
      /zone zone: the link accepts the key/,
      /other\.pub into ssh_public_key of alice\/home1 and deploy .*Permission denied/,
    ],
  ];
  test.each(broken)("the doctor names the one broken hop with its remedy: %s", async (_what, run, hop, remedy) => {
    expect((await run()).failed).toEqual([{ hop: expect.stringMatching(hop), remedy: expect.stringMatching(remedy) }]);
  });
  test("the doctor sees a signer that asks nobody to authenticate, and a unit that does not run", async () => {
    const open = new OctezSigner({ keys: [held] });
    const address = loopback();
    await open.start(address, 6732);
    try {
      expect((await doctor(["--signer-address", address])).failed).toEqual([
        { hop: "the signer asks bakers to authenticate", remedy: expect.stringContaining("--require-authentication") },
      ]);
    } finally {
      await open.close();
    }
    mkdirSync(join(folder, "bin"));
    writeFileSync(
      join(folder, "bin/systemctl"),
      '#!/bin/sh\n[ "$1 $2 $3" = "is-active --quiet tezos-signer-tunnel-alice-home1-zone.service" ] || exit 1\nexit 3\n',
      {
        mode: 0o755,
      },
    );
    const env = { ...process.env, PATH: `${join(folder, "bin")}:${process.env.PATH ?? ""}` };
    expect((await doctor(["--state-dir", join(root, state)], link(), env)).failed).toEqual([
      {
        hop: "zone zone: the tunnel's unit is active",
        remedy: "journalctl -u tezos-signer-tunnel-alice-home1-zone.service",
      },
    ]);
  });

  describe("devices with tz4 keys", () => {
    const [consensus, companion] = [testKey("tz4", "consensus"), testKey("tz4", "companion")];
    const device = join(folder, "tezsign");
    /** What `tezsign status` writes where its output is no terminal. */
    const status = (id: string, tz4: string, changes: object = {}) => ({
      ...{ id, lock_state: "UNLOCKED", tz4, last_block_level: 13_000_000, last_block_round: 0, state_corrupted: false },
      ...{ last_preattestation_level: 13_000_111, last_attestation_level: 13_000_111, ...changes },
    });
    const tezsign = (keys: object[] | undefined) =>
      writeFileSync(
        device,
        keys
          ? `#!/bin/sh\n[ "$*" = status ] && cat <<'END'\n${JSON.stringify(keys)}\nEND\n`
          : "#!/bin/sh\necho 'no devices with VID/PID: VID=9997 PID=0001' >&2\nexit 1\n",
        { mode: 0o755 },
      );
    const both = [
      status("consensus", consensus.address),
      status("companion", companion.address, { last_block_level: 0, last_preattestation_level: 0 }),
    ];
    const served = new Set([consensus, companion]);
    const http = createHttp((request, response) => {
      const key = [...served].find(({ address: tz4 }) => request.url === `/keys/${tz4}`);
      const found = request.url === "/authorized_keys" ? {} : key && { public_key: key.publicKey };
      response.writeHead(found ? 200 : 404).end(JSON.stringify(found ?? { error: "key not found" }));
    });
    const at = loopback();
    const tz4Link = () => link({ addresses: [consensus.address, companion.address] });
    beforeAll(() => listen(http, at));
    afterAll(() => new Promise((done) => http.close(done)));
    const examine = (more: string[] = []) =>
      doctor(["--device", "tezsign", "--tezsign", device, "--signer-address", at, ...more], tz4Link());

    test("TezSign in order: every hop is sound, and nothing asks it to authenticate", async () => {
      tezsign(both);
      const { failed, stdout } = await examine();
      expect(failed).toEqual([]);
      expect(stdout).toContain(`ok    the key ${companion.address} is unlocked`);
      expect(stdout).not.toContain("authenticate");
    });
    test.each<[string, object[] | undefined, RegExp, RegExp]>([
      ["gone from the USB", undefined, /TezSign answers over USB/, /OTG port.*no devices with VID\/PID/],
      [
        "locked",
        [status("consensus", consensus.address, { lock_state: "LOCKED" }), both[1] ?? {}],
        /the key tz4\w+ is unlocked \(locked\)/,
        /after each loss of power: .*tezsign unlock/,
      ],
      [
        "of other keys",
        [status("spare", testKey("tz4", "spare").address), both[1] ?? {}],
        /TezSign has the key tz4/,
        /its keys are: spare tz4\w+, companion tz4/,
      ],
      [
        "with a broken mark",
        [status("consensus", consensus.address, { state_corrupted: true }), both[1] ?? {}],
        /is unlocked \(corrupted\)/,
        /set-level, above everything signed/,
      ],
      [
        "with an absurd mark",
        [status("consensus", consensus.address, { last_attestation_level: 65_601_536 }), both[1] ?? {}],
        /high watermarks of tz4\w+ agree \(preattestation 13000111, attestation 65601536\)/,
        /absurd level.*signer-swap/,
      ],
    ])("a TezSign %s is named", async (_what, keys, hop, remedy) => {
      tezsign(keys);
      expect((await examine()).failed).toEqual([
        { hop: expect.stringMatching(hop), remedy: expect.stringMatching(remedy) },
      ]);
    });
    test("a Russignol that waits for its PIN is named, and its keys are imported by their addresses", async () => {
      const bridge = new OctezSigner({
        keys: [consensus],
        requireAuthentication: true,
        authorizedKeys: [client.publicKey],
      });
      const front = loopback();
      await bridge.start(front, 6732);
      try {
        const { failed } = await doctor(
          ["--device", "russignol", "--device-address", `${front}:7732`, "--signer-address", front],
          tz4Link(),
        );
        expect(failed).toEqual([
          { hop: `the device listens on ${front}:7732`, remedy: expect.stringMatching(/^enter the PIN on its screen/) },
          {
            hop: `the signer holds ${companion.address}`,
            remedy: expect.stringContaining(
              `import secret key ${companion.address} tcp://${front}:7732/${companion.address}`,
            ),
          },
        ]);
      } finally {
        await bridge.close();
      }
    });
    test("while a baker goes from a Ledger to a tz4 key, each host is asked for its own keys", async () => {
      tezsign(both);
      const going = link({ addresses: [held.address, consensus.address, companion.address] });
      const onDevice = await doctor(["--device", "tezsign", "--tezsign", device, "--signer-address", at], going);
      expect(onDevice.failed).toEqual([]);
      const keys = join(root, state, "signer/secret_keys");
      mkdirSync(join(root, state, "signer"), { recursive: true });
      writeFileSync(keys, '[{"name":"baker","value":"ledger://a-b-c-d/bip25519/0h/0h"}]');
      const onLedger = await doctor([], going);
      expect(onLedger.failed.map(({ hop }) => hop)).toEqual(["a Ledger is on the USB"]);
      writeFileSync(keys, "[]");
    });
    test("octez-signer's own marks that are far apart are named, from its own files", async () => {
      const base = join(root, state, "signer");
      mkdirSync(base, { recursive: true });
      const marks = (level: number) =>
        JSON.stringify({ NetXdQprcVkpaWU: { [held.address]: { level, round: 0, hash: "" } } });
      writeFileSync(join(base, "preattestation_high_watermarks"), marks(13_000_111));
      for (const [level, count] of [
        [13_000_112, 0],
        [65_601_536, 1],
      ] as const) {
        writeFileSync(join(base, "attestation_high_watermarks"), marks(level));
        const { failed } = await doctor();
        expect(failed.map(({ hop }) => hop)).toEqual(
          Array.from(
            { length: count },
            () => expect.stringMatching(/own high watermarks of tz1.* attestation 65601536/) as string,
          ),
        );
      }
      for (const name of readdirSync(base)) writeFileSync(join(base, name), "{}");
    });
    test("a Ledger that is not connected is named, where the signer has keys of one", async () => {
      writeFileSync(
        join(root, state, "signer/secret_keys"),
        '[{"name":"baker","value":"ledger://a-b-c-d/bip25519/0h/0h"}]',
      );
      expect((await doctor()).failed).toEqual([
        { hop: "a Ledger is on the USB", remedy: expect.stringContaining("open the baking app") },
      ]);
      writeFileSync(join(root, state, "signer/secret_keys"), "[]");
    });
  });

  describe("a Russignol that answers the tunnel itself", () => {
    const consensus = testKey("tz4", "consensus");
    const signed: SignerEntry[] = [];
    const device = new TcpSigner(
      new OctezSigner({ keys: [consensus], name: "russignol", onRequest: (entry) => signed.push(entry) }),
      { keys: [consensus], device: "russignol" },
    );
    const at = loopback();
    const outputs = () => link({ addresses: [consensus.address], client: "", protocol: "tcp" });
    beforeAll(async () => void (await device.start(at, 7732)));
    afterAll(() => device.close());
    // octez-signer's unit of the tests before is that of another link.
    const place = ["--device", "russignol", "--device-address", `${at}:7732`];

    test("signs what a gate asks through the tunnel, and is found by the doctor", async () => {
      const line = await run(["command", "--zone", "zone", "--outputs", outputs(), ...place, "--state-dir", state]);
      const kept = keepTunnel(
        line.stdout.replaceAll(` ${state}`, ` ${join(root, state)}`).replace(`=${state}`, `=${join(root, state)}`),
      );
      try {
        await until("the tunnel is up", () => listens(pod.address, pod.signerPort));
        const url = new URL(`tcp://${pod.address}:${pod.signerPort}/keys/${consensus.address}?version=3`);
        const body = JSON.stringify(Buffer.from(request("block", 1001)).toString("hex"));
        const answer = await exchangeOverTcp(url, { method: "POST", body, timeoutMs: 20_000 });
        expect(answer).toMatchObject({ ok: true, status: 200, body: expect.stringContaining("BLsig") as string });
        expect(signed).toHaveLength(1);
        const { failed, stdout } = await doctor(place, outputs());
        expect(failed).toEqual([]);
        expect(stdout).toContain("Every hop that this machine can see is sound.");
      } finally {
        await kept.stop();
      }
    });
    test("and one that waits for its PIN is named", async () => {
      await device.close();
      expect((await doctor(place, outputs())).failed).toEqual([
        { hop: `the device listens on ${at}:7732`, remedy: expect.stringMatching(/^enter the PIN on its screen/) },
        { hop: `the signer answers on ${at}:7732`, remedy: expect.stringMatching(/^is the device connected/) },
      ]);
    });
  });

  (process.getuid?.() === 0 ? test : test.skip)(
    "on the machine itself a second run restarts and writes nothing",
    () => {
      const calls = join(folder, "calls");
      const bin = join(folder, "root-bin");
      mkdirSync(bin);
      writeFileSync(join(bin, "systemctl"), `#!/bin/sh\necho "$@" >>${calls}\n`, { mode: 0o755 });
      const install = `${signerHostPath} install --outputs ${link()} --user nobody --yes`;
      // Its own /etc/systemd/system and /var/lib, which end with it.
      const shell = `mount -t tmpfs t /etc/systemd/system && mount -t tmpfs t /var/lib && ${install} && echo again >>${calls} && ${install}
      stat -c '%U %a %n' ${state}/id_ed25519 ${state}/known_hosts /etc/systemd/system/tezos-signer.service`;
      const { status, stdout, stderr } = spawnSync("unshare", ["--mount", "sh", "-ec", shell], {
        encoding: "utf8",
        env: { ...process.env, PATH: `${bin}:${process.env.PATH ?? ""}` },
      });
      expect([status, stderr]).toEqual([0, ""]);
      expect(stdout.match(/^wrote/gm)).toHaveLength(3);
      expect(stdout.match(/^unchanged/gm)).toHaveLength(3);
      expect(stdout).toContain(
        `nobody 600 ${state}/id_ed25519\nnobody 644 ${state}/known_hosts\nroot 644 /etc/systemd/system/tezos-signer.service`,
      );
      const [first = "", second = ""] = readFileSync(calls, "utf8").split("again\n");
      expect(
        first
          .trim()
          .split("\n")
          .map((line) => line.split(" ")[0]),
      ).toEqual(["daemon-reload", "enable", "restart", "enable", "restart"]);
      expect(
        second
          .trim()
          .split("\n")
          .map((line) => line.split(" ")[0]),
      ).toEqual(["enable", "start", "enable", "start"]);
    },
  );
});
