/**
 * The predecessor's design, for comparison in one run: `predecessor elector|loop|exposer|importer`. Leader election
 * with TTL 10 s, renewed every 2.5 s within 5 s; a loop that asks it every 5 s and starts or stops the daemon; nonces
 * copied every 120 s. Nothing fences, nothing follows the node's readiness. LAB_SCALE scales all of it.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { join } from "node:path";
import { leaderLeaseName } from "../../contract/names";
import { memberPods, type BakerFile } from "../../contract/baker-file";
import { ports } from "../../contract/ports";
import { systemClock } from "../../daemons/runtime/clock";
import { createKubeClient } from "../../daemons/runtime/kube-client";
import { microTime, type Lease } from "../../daemons/runtime/kube";
import { answer, fail, serve, sleep } from "./common";

const scale = Number(process.env.LAB_SCALE ?? "1");
const seconds = (value: number) => value * 1000 * scale;
const variable = (name: string): string => process.env[name] ?? fail("predecessor", 1, `${name} is not set`);

function fetchText(url: string, timeoutMs: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const request = get(url, { agent: false, timeout: timeoutMs }, (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => (text += chunk.toString()));
      response.on("end", () => resolve(response.statusCode === 200 ? text : undefined));
      response.on("error", () => resolve(undefined));
    });
    request.on("timeout", () => request.destroy());
    request.on("error", () => resolve(undefined));
  });
}

async function elector(file: BakerFile): Promise<void> {
  const me = variable("TOG_POD_NAME");
  const kube = createKubeClient({
    ...{
      url: variable("TOG_KUBE_URL"),
      kubeDir: variable("TOG_KUBE_DIR"),
      namespace: variable("TOG_NAMESPACE"),
      clock: systemClock,
    },
  });
  const name = leaderLeaseName(file.baker);
  let observed = { text: "", atMs: performance.now() };
  let holder = "";
  let renewedAt = -Infinity;
  await serve(`${variable("TOG_POD_ADDRESS")}:${ports.elector}`, (_request, response) =>
    answer(response, { name: holder }),
  );
  const signal = new AbortController().signal;
  const options = { timeoutMs: seconds(5), signal };
  for (;;) {
    const found = await kube.get("leases", name, options);
    const now = performance.now();
    if (!found.ok && found.kind === "not-found") {
      const lease: Lease = {
        apiVersion: "coordination.k8s.io/v1",
        kind: "Lease",
        metadata: { name },
        spec: { holderIdentity: me, renewTime: microTime(Date.now()) },
      };
      if ((await kube.create("leases", lease, options)).ok) [holder, renewedAt] = [me, now];
    } else if (found.ok) {
      const { spec } = found.object;
      const text = JSON.stringify(spec);
      if (text !== observed.text) observed = { text, atMs: now };
      holder = spec.holderIdentity ?? "";
      if (holder === me || holder === "" || now - observed.atMs > seconds(10)) {
        const renewed = await kube.replace(
          "leases",
          {
            ...found.object,
            spec: {
              ...spec,
              holderIdentity: me,
              renewTime: microTime(Date.now()),
              leaseTransitions: (spec.leaseTransitions ?? 0) + (holder === me ? 0 : 1),
            },
          },
          options,
        );
        if (renewed.ok) [holder, renewedAt] = [me, now];
      }
    }
    // The renew deadline: the process ends and the kubelet starts it anew.
    if (holder === me && performance.now() - renewedAt > seconds(5)) fail("predecessor", 1, "lost the lease");
    await sleep(seconds(2.5) * (holder === me ? 1 : 1 + Math.random() * 1.2));
  }
}

async function loop(file: BakerFile): Promise<void> {
  const me = variable("TOG_POD_NAME");
  const url = file.signers[0]?.endpoints[0]?.url ?? "";
  const command = (file.daemons[0]?.command ?? []).map((word, i, all) =>
    all[i - 1] === "-R" ? url : word.replace(/\$\((\w+)\)/g, (_whole, key: string) => variable(key)),
  );
  let child: ChildProcess | undefined;
  process.on("SIGTERM", () => {
    child?.kill("SIGTERM");
    setTimeout(() => process.exit(0), seconds(1));
  });
  for (;;) {
    const single = file.members === 1;
    const text = single
      ? JSON.stringify({ name: me })
      : await fetchText(`http://${variable("TOG_POD_ADDRESS")}:${ports.elector}/`, seconds(5));
    let leads = false;
    try {
      leads = (JSON.parse(text ?? "{}") as { name?: string }).name === me;
    } catch {
      leads = false;
    }
    if (leads && !child) {
      const started = spawn(command[0] ?? "", command.slice(1), { stdio: "inherit" });
      started.on("exit", () => (child = undefined));
      child = started;
    } else if (!leads && child) {
      const stopping = child;
      stopping.kill("SIGTERM");
      setTimeout(() => stopping.kill("SIGKILL"), seconds(10));
    }
    await sleep(seconds(5));
  }
}

const nonceFile = (): string | undefined => {
  const folder = variable("TOG_CLIENT_DIR");
  const name = existsSync(folder) ? readdirSync(folder).find((entry) => entry.endsWith("_stateful_nonces")) : undefined;
  return name === undefined ? undefined : join(folder, name);
};
async function exposer(): Promise<void> {
  await serve(`${variable("TOG_POD_ADDRESS")}:${ports.nonceExposer}`, (_request, response) => {
    const path = nonceFile();
    answer(response, path === undefined ? [] : (JSON.parse(readFileSync(path, "utf8")) as unknown));
  });
}
async function importer(file: BakerFile): Promise<void> {
  const me = variable("TOG_POD_NAME");
  for (;;) {
    await sleep(seconds(120));
    for (const peer of memberPods(file).filter((pod) => pod !== me)) {
      const text = await fetchText(
        `http://${peer}.${me.replace(/-\d+$/, "")}:${ports.nonceExposer}/nonces`,
        seconds(10),
      );
      const path = nonceFile();
      try {
        const theirs = JSON.parse(text ?? "[]") as { hash: string; cycle: number }[];
        const mine =
          path === undefined ? [] : (JSON.parse(readFileSync(path, "utf8")) as { hash: string; cycle: number }[]);
        const cycle = Math.max(0, ...theirs.map((entry) => entry.cycle));
        const fresh = theirs.filter(
          (entry) => entry.cycle === cycle && !mine.some((other) => other.hash === entry.hash),
        );
        const target = path ?? join(variable("TOG_CLIENT_DIR"), `${file.network.chainId.slice(0, 13)}_stateful_nonces`);
        if (fresh.length > 0) writeFileSync(target, JSON.stringify([...mine, ...fresh]));
      } catch {
        // The next copy is in two minutes.
      }
    }
  }
}

export async function main(argv: readonly string[]): Promise<void> {
  const file = JSON.parse(readFileSync(variable("TOG_CONFIG_FILE"), "utf8")) as BakerFile;
  const [role = ""] = argv;
  if (role === "elector") return elector(file);
  if (role === "loop") return loop(file);
  if (role === "exposer") return exposer();
  if (role === "importer") return importer(file);
  fail("predecessor", 1, `elector, loop, exposer or importer; got "${role}"`);
}
