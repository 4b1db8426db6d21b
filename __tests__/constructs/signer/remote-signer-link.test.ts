/** Tunnels from the signers at home, and the signers inside the cluster. */
import { ConfigMapV1 } from "@cdktf/provider-kubernetes/lib/config-map-v1";
import { DeploymentV1 } from "@cdktf/provider-kubernetes/lib/deployment-v1";
import { PodDisruptionBudgetV1 } from "@cdktf/provider-kubernetes/lib/pod-disruption-budget-v1";
import { SecretV1 } from "@cdktf/provider-kubernetes/lib/secret-v1";
import { ServiceV1 } from "@cdktf/provider-kubernetes/lib/service-v1";
import { remoteCallsTimeoutSeconds } from "../../../constructs/baker/baker-file-contents";
import { kmsRetries, kmsTimeoutSeconds } from "../../../constructs/signer/cloud-signer";
import { defaultTimings } from "../../../contract/timings";
import {
  addresses,
  baker,
  bakerWith,
  delegates,
  expectResource,
  ids,
  pod,
  resource,
  sshKey,
  type Synthesized,
} from "../../helpers/synthesized";

const kms = "projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/2";
const two = bakerWith({
  signers: { home1: { ssh_public_key: sshKey, port: 8443 }, home2: { ssh_public_key: sshKey, port: 8500 } },
});
const tunnels = [
  ["alice_signer_home1_us-central1-b", "ssh-8443", "us-central1-b"],
  ["alice_signer_home1_us-central1-c", "ssh-8444", "us-central1-c"],
  ["alice_signer_home2_us-central1-b", "ssh-8500", "us-central1-b"],
  ["alice_signer_home2_us-central1-c", "ssh-8501", "us-central1-c"],
] as const;
const deployment = (id: string, changes = two) => pod(baker(true, changes), id, "kubernetes_deployment_v1");

test("one tunnel pod per signer and zone, in that zone", () => {
  expect(ids(baker(true, two), DeploymentV1)).toEqual(tunnels.map(([id]) => id));
  for (const [id, , zone] of tunnels)
    expect(deployment(id)).toHaveProperty("node_selector", { "topology.kubernetes.io/zone": zone });
});
test("one address with a port per tunnel: each port has a name that one pod only knows", () => {
  expectResource(baker(true, two), ServiceV1, "signer_link").toHave({
    spec: {
      type: "LoadBalancer",
      load_balancer_ip: "${data.google_compute_address.signer_link.address}",
      publish_not_ready_addresses: true,
      port: [8443, 8444, 8500, 8501].map((port) => ({
        name: `ssh-${port}`,
        port,
        target_port: `ssh-${port}`,
        protocol: "TCP",
      })),
    },
  });
  for (const [id, name] of tunnels)
    expect(deployment(id).container[0]).toHaveProperty("port", [{ name, container_port: 2222, protocol: "TCP" }]);
});
test("the load balancer's firewall knows the houses, where they have fixed addresses", () => {
  expectResource(baker(true, { signer_link: { source_ranges: ["203.0.113.7/32"] } }), ServiceV1, "signer_link").toHave({
    spec: { load_balancer_source_ranges: ["203.0.113.7/32"] },
  });
});
test("a tunnel is ready only when the signer answers through it, and alive while its sshd is", () => {
  expect(deployment(tunnels[0][0]).container[0]).toMatchObject({
    readiness_probe: { http_get: { port: "6732", path: "/authorized_keys" } },
    liveness_probe: { tcp_socket: [{ port: "2222" }] },
    command: ["/usr/sbin/sshd", "-D", "-e", "-f", "/etc/tezos-on-gke/sshd/sshd_config"],
    security_context: { run_as_non_root: true, read_only_root_filesystem: true, capabilities: { drop: ["ALL"] } },
  });
  expect(deployment(tunnels[0][0]).automount_service_account_token).toBe(false);
});
const overTcp = bakerWith({ signers: { home1: { ssh_public_key: sshKey, port: 8443, protocol: "tcp" } } });
test("over octez-signer's TCP protocol a tunnel is ready while it stands: a probe would take the signer's connections", () => {
  const probe = { exec: { command: ["grep", "-q", ":1A4C 00000000:0000 0A ", "/proc/net/tcp"] } };
  expect(deployment(tunnels[0][0], overTcp).container[0]).toMatchObject({ readiness_probe: probe });
  expect(deployment(tunnels[0][0], overTcp).container[0]).not.toHaveProperty("readiness_probe.http_get");
});
test("inside there is a service per zone, and one for whichever tunnel answers", () => {
  expectResource(baker(true, two), ServiceV1, "alice_signer_home1_us-central1-b").toHave({
    metadata: { name: "alice-signer-home1-us-central1-b" },
    spec: {
      selector: { "tezos-on-gke/signer": "home1", "tezos-on-gke/zone": "us-central1-b" } as never,
      port: [{ port: 6732 }],
    },
  });
  const any = resource(baker(true, two), ServiceV1, "alice_signer_home1") as {
    spec: { selector: object; publish_not_ready_addresses?: boolean };
  };
  expect(any.spec.selector).toEqual({
    baker: "alice",
    "app.kubernetes.io/component": "signer-link",
    "tezos-on-gke/signer": "home1",
  });
  expect(any.spec.publish_not_ready_addresses).toBeUndefined();
});
test("a drain takes one tunnel of a signer at a time, and one that is down whenever it wants", () => {
  const release = baker(true, two).document.resource.helm_release?.["tezos-signer-budgets"] as { values: string[] };
  const { objects } = JSON.parse(release.values[0] ?? "") as { objects: Record<string, unknown>[] };
  expect(objects.map(({ kind, metadata }) => [kind, metadata])).toEqual(
    ["home1", "home2"].map((signer) => [
      "PodDisruptionBudget",
      {
        ...{ name: `alice-signer-${signer}-tunnels`, namespace: "tezos" },
        labels: { "app.kubernetes.io/part-of": "tezos-on-gke", baker: "alice" },
      },
    ]),
  );
  expect(objects[0]?.spec).toEqual({
    maxUnavailable: 1,
    selector: {
      matchLabels: { baker: "alice", "app.kubernetes.io/component": "signer-link", "tezos-on-gke/signer": "home1" },
    },
    unhealthyPodEvictionPolicy: "AlwaysAllow",
  });
});
test.each([true, false])("a pod that may sign is evicted under the provider's budget alone (flag %s)", (flag) => {
  const { document } = baker(flag, two);
  const budgets = Object.values(document.resource[PodDisruptionBudgetV1.tfResourceType] ?? {});
  expect(budgets).toHaveLength(1);
  expect(JSON.stringify(budgets)).toContain('"app.kubernetes.io/component":"baking-pod"');
  expect(JSON.stringify(document.resource.helm_release)).not.toContain("baking-pod");
});
test("without a remote signer there is no release of budgets", () => {
  const { document } = baker(true, bakerWith({ signers: undefined, hot_test_key: true }));
  expect(Object.keys(document.resource.helm_release ?? {})).not.toContain("tezos-signer-budgets");
});
test("the gate is told every tunnel of every signer, in order of preference", () => {
  const file = resource(baker(true, two), ConfigMapV1, "alice-as") as { data: Record<string, string> };
  const { signers, keys } = JSON.parse(file.data["baker.json"] ?? "") as {
    signers: unknown;
    keys: { signers: string[] }[];
  };
  const endpoint = (signer: string, zone: string) => ({ zone, url: `http://alice-signer-${signer}-${zone}:6732` });
  expect(signers).toEqual(
    ["home1", "home2"].map((name) => ({
      name,
      deterministic: false,
      endpoints: [endpoint(name, "us-central1-b"), endpoint(name, "us-central1-c")],
    })),
  );
  expect(keys[0]?.signers).toEqual(["home1", "home2"]);
});
test("without the flag octez-baker asks the first signer's service, whichever tunnel answers", () => {
  const file = resource(baker(false, two), ConfigMapV1, "alice-solo") as { data: Record<string, string> };
  expect(file.data["baker.json"]).toContain('"http://alice-signer-home1:6732"');
});
test.each([
  [true, "alice-as", "tcp://alice-signer-home1-us-central1-b:6732"],
  [false, "alice-solo", "tcp://alice-signer-home1:6732"],
])(
  "a tunnel that carries octez-signer's TCP protocol is asked by it, and the signer host is told so; flag %s",
  (flag, name, url) => {
    const file = resource(baker(flag, overTcp), ConfigMapV1, name) as { data: Record<string, string> };
    expect(file.data["baker.json"]).toContain(`"${url}"`);
    expect(file.data["baker.json"]).not.toContain("http://alice-signer");
    expect(baker(flag, overTcp).document.output?.signer_links?.value).toMatchObject([{ protocol: "tcp" }]);
  },
);
const byUrl = { url: "http://10.8.0.5:6732", deterministic: true };
test("a signer by URL stands beside a tunnel in the gate's list, and has no zone", () => {
  const mixed = baker(true, bakerWith({ signers: { home1: { ssh_public_key: sshKey, port: 8443 }, office: byUrl } }));
  const file = resource(mixed, ConfigMapV1, "alice-as") as { data: Record<string, string> };
  const { signers, keys } = JSON.parse(file.data["baker.json"] ?? "") as Record<"signers" | "keys", object[]>;
  expect(signers[1]).toEqual({ name: "office", deterministic: true, endpoints: [{ zone: null, url: byUrl.url }] });
  expect(keys[0]).toMatchObject({ signers: ["home1", "office"] });
  expect(mixed.document.output?.signer_links?.value).toHaveLength(1);
});
test("with URLs only there is no link: no sshd, no load balancer, no host key", () => {
  for (const flag of [false, true]) {
    const stack = baker(flag, bakerWith({ signers: { office: byUrl } }));
    expect(ids(stack, DeploymentV1)).toEqual([]);
    expect(ids(stack, ServiceV1)).not.toContain("signer_link");
    expect(ids(stack, SecretV1)).toEqual(flag ? ["alice_nonce"] : []);
    expect(stack.document.output?.signer_links?.value).toEqual([]);
  }
});
test("without the flag octez-baker asks the URL itself", () => {
  const file = resource(baker(false, bakerWith({ signers: { office: byUrl } })), ConfigMapV1, "alice-solo") as {
    data: Record<string, string>;
  };
  expect(file.data["baker.json"]).toContain('"-R",\n        "http://10.8.0.5:6732"');
});
/** Addresses of what two stacks declare differently, of what the first one has. */
const changed = (before: Synthesized, after: Synthesized): string[] =>
  addresses(before).filter((address) => {
    const [type = "", id = ""] = address.split(/\.(.*)/s);
    return JSON.stringify(before.document.resource[type]?.[id]) !== JSON.stringify(after.document.resource[type]?.[id]);
  });
test.each([
  ["off", false, "alice-solo"],
  ["on", true, "alice-as"],
] as const)(
  "flag %s: another signer adds its own objects; of what is there, only the list of signers, the link's ports and the budgets change, and no pod",
  (_flag, flag, file) => {
    const one = baker(flag, bakerWith({}));
    const more = baker(flag, two);
    expect(addresses(more).filter((address) => !addresses(one).includes(address))).toEqual([
      "kubernetes_config_map_v1.alice_signer_home2",
      "kubernetes_deployment_v1.alice_signer_home2_us-central1-b",
      "kubernetes_deployment_v1.alice_signer_home2_us-central1-c",
      "kubernetes_service_v1.alice_signer_home2",
      "kubernetes_service_v1.alice_signer_home2_us-central1-b",
      "kubernetes_service_v1.alice_signer_home2_us-central1-c",
    ]);
    expect(changed(one, more)).toEqual([
      "helm_release.tezos-signer-budgets",
      `kubernetes_config_map_v1.${file}`,
      "kubernetes_service_v1.signer_link",
    ]);
    // Taken out again, likewise.
    expect(changed(more, one).filter((address) => addresses(one).includes(address))).toEqual(changed(one, more));
  },
);
test("a signer by URL changes the list and its own policy, and no pod", () => {
  const one = bakerWith({ signers: { home1: { ssh_public_key: sshKey, port: 8443 } } });
  const more = bakerWith({ signers: { home1: { ssh_public_key: sshKey, port: 8443 }, office: byUrl } });
  const [before, after] = [baker(true, one), baker(true, more)];
  expect(addresses(after).filter((address) => !addresses(before).includes(address))).toEqual([
    "kubernetes_network_policy_v1.alice-signer-urls",
  ]);
  expect(changed(before, after)).toEqual(["kubernetes_config_map_v1.alice-as"]);
});
test("a signer of another baker touches nothing of this one", () => {
  const [alice, bob] = delegates;
  const bakers = (signers: object) => ({
    bakers: {
      alice: { delegate: alice, signers: { home1: { ssh_public_key: sshKey, port: 8443 } } },
      bob: { delegate: bob, signers: { home1: { ssh_public_key: sshKey, port: 8500 }, ...signers } },
    },
  });
  const after = bakers({ home2: { ssh_public_key: sshKey, port: 8600 } });
  expect(changed(baker(true, bakers({})), baker(true, after))).toEqual([
    "helm_release.tezos-signer-budgets",
    "kubernetes_config_map_v1.bob-as",
    "kubernetes_service_v1.signer_link",
  ]);
});
test("a rotated key of a signer changes its own file and restarts its own tunnels only", () => {
  const other = sshKey.replace("II", "JJ");
  const rotated = bakerWith({
    signers: { home1: { ssh_public_key: other, port: 8443 }, home2: { ssh_public_key: sshKey, port: 8500 } },
  });
  expect(changed(baker(true, two), baker(true, rotated))).toEqual([
    "kubernetes_config_map_v1.alice_signer_home1",
    "kubernetes_deployment_v1.alice_signer_home1_us-central1-b",
    "kubernetes_deployment_v1.alice_signer_home1_us-central1-c",
  ]);
});
test("the host key comes from the sensitive variable, or from a secret that the operator keeps", () => {
  expectResource(baker(true), SecretV1, "signer_link_host_key").toHave({
    data_wo: { ssh_host_ed25519_key: "${var.secrets.signer_link_host_key}" },
  });
  const kept = baker(true, { signer_link: { host_key_secret: "my-host-key" } });
  expect(ids(kept, SecretV1)).toEqual(["alice_nonce"]);
  expect(pod(kept, tunnels[0][0], "kubernetes_deployment_v1").volume).toContainEqual(
    expect.objectContaining({ name: "host-key", secret: expect.objectContaining({ secret_name: "my-host-key" }) }),
  );
});
test("the output has what the signer host needs to know", () => {
  const hostKey = sshKey.replace("home1", "link");
  expect(baker(true, { signer_link: { host_public_key: hostKey } }).document.output?.signer_links?.value).toEqual([
    {
      baker: "alice",
      signer: "home1",
      host: "${data.google_compute_address.signer_link.address}",
      host_key: hostKey,
      user: "signer",
      protocol: "http",
      listen: "0.0.0.0:6732",
      tunnels: [
        { zone: "us-central1-b", port: 8443 },
        { zone: "us-central1-c", port: 8444 },
      ],
      addresses: [delegates[0]],
      authentication_key: "",
    },
  ]);
});
test("in a cluster that is not ours the output has the address that the load balancer gets; without zones there is one tunnel", () => {
  const stack = baker(false, {
    cluster: { existing: { context: "kind", storage_class: "standard" } },
    project: undefined,
    state: undefined,
  });
  const links = stack.document.output?.signer_links?.value as { host: string; tunnels: unknown }[];
  expect(links.map(({ host, tunnels }) => ({ host, tunnels }))).toEqual([
    {
      host: expect.stringMatching(
        /^\$\{try\(coalesce\(kubernetes_service_v1\.signer_link\.status\[0\].*ip, .*hostname\), ""\)\}$/,
      ) as string,
      tunnels: [{ zone: "any", port: 8443 }],
    },
  ]);
  expect(stack.document.output?.signer_host?.value).toBe(links[0]?.host);
});
test("a name that makes no service name is refused at synth", () => {
  const long = "a".repeat(30);
  const zones = ["northamerica-northeast1-a", "northamerica-northeast1-b"];
  expect(() =>
    baker(true, {
      region: "northamerica-northeast1",
      zones,
      bakers: {
        [long]: { delegate: delegates[0], signers: { ["s".repeat(20)]: { ssh_public_key: sshKey, port: 8443 } } },
      },
    }),
  ).toThrow(/must have at most 63 characters, got \d+: shorten/);
});

describe("a hot test key", () => {
  const hot = bakerWith({ signers: {}, hot_test_key: true });
  test.each([
    ["off", false, "alice-solo"],
    ["on", true, "alice-as"],
  ] as const)("flag %s: the key is in the signer's pod only", (_name, flag, id) => {
    const stack = baker(flag, hot);
    expectResource(stack, SecretV1, "alice_hot_keys").toHave({
      data_wo: { [delegates[0]]: `\${var.secrets.hot_keys["alice"]["${delegates[0]}"]}` },
    });
    const users = (mounted: { volume: object[] }) => JSON.stringify(mounted.volume).includes("alice-signer-hot-keys");
    const signer = pod(stack, "alice_signer_hot", "kubernetes_deployment_v1");
    expect(users(signer)).toBe(true);
    expect(users(pod(stack, id))).toBe(false);
    // Only the init container sees the secret; no command line of the pod names a key.
    const mounts = ({ volume_mount }: { volume_mount: { name: string }[] }) => volume_mount.map(({ name }) => name);
    expect(signer.init_container.map((one) => [one.name, mounts(one)])).toEqual([["hot-keys", ["keys", "signer"]]]);
    expect(signer.container.map((one) => [one.name, mounts(one)])).toEqual([["signer", ["signer", "tmp"]]]);
    expect(JSON.stringify(signer)).not.toContain("var.secrets");
    expect(ids(stack, ServiceV1)).not.toContain("signer_link");
  });
  test("it refuses everything that is no block and no vote, and never runs twice", () => {
    expect(pod(baker(true, hot), "alice_signer_hot", "kubernetes_deployment_v1").container[0]?.args.join(" ")).toMatch(
      /launch http signer --address 0\.0\.0\.0 --port 6732 --magic-bytes 0x11,0x12,0x13 --check-high-watermark$/,
    );
    expectResource(baker(true, hot), DeploymentV1, "alice_signer_hot").toHave({
      spec: { replicas: "1", strategy: { type: "Recreate" } as never },
    });
  });
});

test("every try of Signatory at Google's KMS ends before octez-baker stops waiting, and before a gate would", () => {
  const mostMs = 1000 * kmsTimeoutSeconds * (1 + kmsRetries) + 100 * (2 ** kmsRetries - 1);
  expect(mostMs).toBeLessThan(1000 * remoteCallsTimeoutSeconds);
  expect(mostMs).toBeLessThan(defaultTimings.gateBudgetMs - defaultTimings.markWriteMs);
  const stack = baker(
    false,
    bakerWith({ signers: {}, delegate: "tz3hw2kqXhLUvY65ca1eety2oQTpAvd34R9Q", cloud_key: kms }),
  );
  const config = resource(stack, ConfigMapV1, "alice_cloud") as { data: Record<string, string> };
  expect(config.data["signatory.yaml"]).toContain(`timeout: ${kmsTimeoutSeconds}\n      max_retries: ${kmsRetries}\n`);
});
test("a hot signer proves the possession of a tz4 key, which its registration asks for, and of no other", () => {
  const args = (settings: object) =>
    pod(
      baker(true, bakerWith({ signers: {}, hot_test_key: true, ...settings })),
      "alice_signer_hot",
      "kubernetes_deployment_v1",
    ).container[0]?.args;
  const tz4 = { delegate: "tz4T5ke56J3aKoFW6dTdLuuQtQF1vN65CUoh", dal: { enabled: false } };
  expect(args(tz4)).toContain("--allow-to-prove-possession");
  expect(args({})).not.toContain("--allow-to-prove-possession");
});
test("a key in Google's KMS signs through Signatory under the identity of its own account", () => {
  const stack = baker(false, {
    bakers: {
      carol: {
        delegate: "tz3hw2kqXhLUvY65ca1eety2oQTpAvd34R9Q",
        cloud_key: kms,
      },
    },
  });
  const config = resource(stack, ConfigMapV1, "carol_cloud") as { data: Record<string, string> };
  expect(config.data["signatory.yaml"]).toContain("driver: cloudkms");
  expect(config.data["signatory.yaml"]).not.toContain("generic");
  const [signatory] = pod(stack, "carol_signer_cloud", "kubernetes_deployment_v1").container;
  if (!signatory) throw new Error("no container");
  const { image, readiness_probe, liveness_probe } = signatory;
  expect(image).toBe("docker.io/ecadlabs/signatory:v1.4.0");
  expect(readiness_probe?.http_get).toEqual({ port: "6732", path: "/keys/tz3hw2kqXhLUvY65ca1eety2oQTpAvd34R9Q" });
  expect(liveness_probe?.http_get.path).toBe("/authorized_keys");
  expect(pod(stack, "carol_signer_cloud", "kubernetes_deployment_v1").service_account_name).toBe("carol-signer-cloud");
});
