/**
 * The seam: what the constructs synthesize is what the daemons take. Environment, arguments, ports, probes and paths of
 * every container are fed to the daemons' own parser and held against what the daemons listen on and serve.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { bakerFileSchema, memberPods, otherPods } from "../contract/baker-file";
import { bakingContainers, type ContainerRow, containers, signerContainers } from "../contract/containers";
import { env, mounts, secretFiles } from "../contract/env";
import { daemonCommand, type DaemonName, daemonNames, togCommand } from "../contract/images";
import { electorPaths } from "../contract/leadership";
import { holderIdentity, labels } from "../contract/names";
import { ports } from "../contract/ports";
import { expandArgs, parseConfig } from "../daemons/runtime/config";
import {
  baker,
  bakerWith,
  container,
  delegates,
  pod,
  type Synthesized,
  type SynthesizedContainer,
} from "./helpers/synthesized";

const full = bakerWith({ accuser: true, consensus_keys: [delegates[1]] });
const modes = [
  { flag: "off", stack: () => baker(false, full), id: "alice-solo", topology: "solo" },
  { flag: "on", stack: () => baker(true, full), id: "alice-as", topology: "active-standby" },
] as const;
const daemonRows: ContainerRow[] = [...Object.values(bakingContainers), ...Object.values(signerContainers)].filter(
  (row) => "daemon" in row,
);
/** Which port each daemon serves its health on; null: it serves none. */
const daemonPorts = Object.fromEntries(
  daemonRows.map(({ daemon, listens }) => [daemon, Object.values(listens).find(({ openTo }) => openTo)?.port ?? null]),
) as Record<DaemonName, number | null>;

/** What Kubernetes puts into a pod. */
const podFields = (pod: string): Record<string, string> => ({
  "metadata.name": pod,
  "metadata.uid": "6f2b",
  "metadata.namespace": "tezos",
  "status.podIP": "10.20.0.7",
  [`metadata.labels['${labels.zone}']`]: "us-central1-c",
});
const service: Record<string, string> = { KUBERNETES_SERVICE_HOST: "10.30.0.1", KUBERNETES_SERVICE_PORT: "443" };
/** The environment that a process sees: values of earlier names and of services are expanded, as the kubelet does. */
function environmentIn(pod: string, { env: list }: SynthesizedContainer): Record<string, string> {
  const fields = podFields(pod);
  const seen: Record<string, string> = { ...service };
  for (const { name, value, value_from: from } of list)
    seen[name] = from
      ? (fields[from.field_ref.field_path] ?? `no field ${from.field_ref.field_path}`)
      : (value ?? "").replace(/\$\((\w+)\)/g, (whole, reference: string) => seen[reference] ?? whole);
  return seen;
}
const all = (stack: Synthesized, id: string): SynthesizedContainer[] => [
  ...pod(stack, id).init_container,
  ...pod(stack, id).container,
];
const daemonOf = ({ command, args }: SynthesizedContainer): DaemonName | undefined =>
  [togCommand, daemonCommand].some((ours) => command.join(" ") === ours.join(" "))
    ? daemonNames.find((name) => name === args[0] && args.length === 1)
    : undefined;
const configText = (stack: Synthesized, id: string): string =>
  (stack.document.resource.kubernetes_config_map_v1?.[id] as { data: Record<string, string> }).data["baker.json"] ?? "";

describe.each(modes)("flag $flag", ({ stack: make, id, topology }) => {
  const stack = make();
  const list = all(stack, id);
  const name = `${id}-0`;
  const environment = (one: SynthesizedContainer) => environmentIn(name, one);

  test("each container's environment and file are what the daemons' parser takes, without a mistake", () => {
    for (const one of list) {
      const read = (path: string): string => {
        expect(path).toBe(mounts.configFile);
        return configText(stack, id);
      };
      const { config, errors } = parseConfig(environment(one), read);
      expect([one.name, errors]).toEqual([one.name, []]);
      expect(config?.env).toEqual({
        TOG_POD_NAME: name,
        TOG_POD_UID: "6f2b",
        TOG_POD_ADDRESS: "10.20.0.7",
        TOG_LOCAL_ADDRESS: "127.0.0.1",
        TOG_NAMESPACE: "tezos",
        TOG_ZONE: "us-central1-c",
        TOG_KUBE_URL: "https://10.30.0.1:443",
        TOG_KUBE_DIR: mounts.kubeDir,
        TOG_NODE_DIR: mounts.nodeDir,
        TOG_CLIENT_DIR: mounts.clientDir,
        TOG_STATE_DIR: mounts.stateDir,
        TOG_SECRETS_DIR: mounts.secretsDir,
        TOG_CONFIG_FILE: mounts.configFile,
      });
      expect(config?.identity).toBe(holderIdentity(name, "6f2b"));
    }
  });
  test("a missing or unknown name of the environment would be found", () => {
    const one = list[0] as SynthesizedContainer;
    const less = Object.fromEntries(Object.entries(environment(one)).filter(([name]) => name !== "TOG_STATE_DIR"));
    const read = () => configText(stack, id);
    expect(parseConfig(less, read).errors).toEqual([expect.stringContaining("TOG_STATE_DIR: must be set")]);
    expect(parseConfig({ ...environment(one), TOG_X: "1" }, read).errors).toEqual([
      expect.stringContaining("TOG_X: unknown name"),
    ]);
    expect(parseConfig({ ...environment(one), TOG_POD_NAME: `${id}-9` }, read).errors).toEqual([
      expect.stringMatching(new RegExp(`^TOG_POD_NAME: must be a pod of the baker \\(${name}.*\\), got "${id}-9"$`)),
    ]);
  });
  test("every name that a command line uses is in the contract", () => {
    const { config } = parseConfig(environment(list[0] as SynthesizedContainer), () => configText(stack, id));
    if (!config) throw new Error("no configuration");
    for (const { command, args } of list) expect(() => expandArgs([...command, ...args], config.env)).not.toThrow();
    const [octez] = config.file.daemons;
    expect(expandArgs(octez?.command ?? [], config.env).join(" ")).toBe(
      `octez-baker -d ${mounts.clientDir} -E http://127.0.0.1:${ports.octezRpc}` +
        ` -R ${topology === "solo" ? "http://alice-signer-home1:6732" : `http://127.0.0.1:${ports.gate}`}` +
        ` run with local node ${mounts.nodeDir} consensus --liquidity-baking-toggle-vote pass` +
        ` --dal-node http://127.0.0.1:${ports.dalRpc} --keep-alive --record-state --remote-calls-timeout 5`,
    );
  });
  test("every container of ours runs a daemon that the bundle has, in a container named for it", () => {
    const ours = list.filter(({ command }) => command[0] === togCommand[0]);
    expect(ours.map((one) => [one.name, daemonOf(one)])).toEqual(
      (topology === "solo"
        ? ["topology-guard", "sidecar", "baker"]
        : ["topology-guard", "sidecar", "elector", "baker", "signing-gate", "nonce-exposer", "nonce-importer"]
      ).map((name) => [name, name === "baker" ? "baker-supervisor" : name]),
    );
  });
  test("each daemon's declared port and own probe are the port that it listens on", () => {
    for (const one of list) {
      const daemon = daemonOf(one);
      if (!daemon) continue;
      const port = daemonPorts[daemon];
      expect([daemon, (one.port ?? []).map(({ container_port }) => container_port)]).toEqual([
        daemon,
        Object.values(daemonRows.find((row) => row.daemon === daemon)?.listens ?? {}).flatMap((listener) =>
          listener.name === undefined ? [] : [listener.port],
        ),
      ]);
      if (port !== null) expect(one.liveness_probe?.http_get.port).toBe(String(port));
    }
  });
  test("probes and preStop calls name paths and ports that somebody in the pod serves", () => {
    const served = new Set([
      ...Object.values(daemonPorts).flatMap((port) =>
        ["/live", "/ready", "/status", "/metrics"].map((path) => `${port}${path}`),
      ),
      `${ports.preStop}${electorPaths.handedOver}`,
      `${ports.dalMetrics}/metrics`,
    ]);
    for (const { name, liveness_probe, readiness_probe, startup_probe, lifecycle } of list)
      for (const call of [
        liveness_probe?.http_get,
        readiness_probe?.http_get,
        startup_probe?.http_get,
        lifecycle?.pre_stop[0]?.http_get,
      ])
        if (call) expect([name, served.has(`${call.port}${call.path}`)]).toEqual([name, true]);
  });
  test("a preStop call ends within the grace period, however long the handover waits", () => {
    const { timings } = bakerFileSchema.parse(JSON.parse(configText(stack, id)));
    const stop =
      timings.terminationWaitSeconds + timings.gateDrainSeconds + timings.stopGraceSeconds + timings.noncePushSeconds;
    expect(timings.preStopSeconds).toBeGreaterThan(stop);
    expect(pod(stack, id).termination_grace_period_seconds).toBeGreaterThan(
      timings.preStopSeconds + timings.stopGraceSeconds,
    );
  });
  test("the file names the pods that the StatefulSet makes", () => {
    const file = bakerFileSchema.parse(JSON.parse(configText(stack, id)));
    const { replicas } = (stack.document.resource.kubernetes_stateful_set_v1?.[id] as { spec: { replicas: string } })
      .spec;
    expect(memberPods(file)).toEqual(Array.from({ length: Number(replicas) }, (_, i) => `${id}-${i}`));
    expect(otherPods(file)).toEqual(
      topology === "solo" ? ["alice-as-0", "alice-as-1", "alice-as-2"] : ["alice-solo-0"],
    );
  });
  test("the paths of the environment are mounted where the container needs them", () => {
    const mounted = ({ volume_mount }: SynthesizedContainer) => volume_mount.map(({ mount_path }) => mount_path);
    for (const one of list) {
      const daemon = daemonOf(one);
      if (daemon) expect([one.name, mounted(one)]).toEqual([one.name, expect.arrayContaining([mounts.configDir])]);
    }
    for (const path of [mounts.nodeDir, mounts.clientDir, mounts.stateDir])
      expect(path.startsWith(`${mounts.data}/`)).toBe(true);
    expect(mounts.configFile.startsWith(`${mounts.configDir}/`)).toBe(true);
  });
  test("each volume that is mounted exists, and each that exists is mounted", () => {
    const claims = (
      stack.document.resource.kubernetes_stateful_set_v1?.[id] as {
        spec: { volume_claim_template: { metadata: { name: string } }[] };
      }
    ).spec.volume_claim_template.map(({ metadata }) => metadata.name);
    const used = new Set(list.flatMap(({ volume_mount }) => volume_mount.map(({ name }) => name)));
    expect([...used].sort()).toEqual([...pod(stack, id).volume.map(({ name }) => name), ...claims].sort());
  });
});

test("the nonce secret is mounted as the file that the exchange reads", () => {
  const { kubernetes_secret_v1: secrets } = baker(true).document.resource;
  expect(Object.keys((secrets?.alice_nonce as { data_wo: object }).data_wo)).toEqual([secretFiles.nonceSecret]);
  expect(container(baker(true), "alice-as", containers.nonceExposer).volume_mount).toContainEqual({
    name: "secrets",
    mount_path: mounts.secretsDir,
    read_only: true,
  });
});
test("the bundle's entry knows every daemon of the contract", () => {
  const entry = readFileSync(join(__dirname, "../daemons/main.ts"), "utf8");
  for (const name of daemonNames)
    expect(entry).toMatch(new RegExp(`"?${name}"?: \\(\\) => import\\("\\./${name}/main"\\)`));
});
test("no two listeners of a pod share a port", () => {
  const numbers = Object.values(ports);
  expect(new Set(numbers).size).toBe(numbers.length);
  expect(Object.keys(env).every((name) => name.startsWith("TOG_"))).toBe(true);
});
