/** Everything inside Kubernetes, in both topologies. */
import { ConfigMapV1 } from "@cdktf/provider-kubernetes/lib/config-map-v1";
import { RoleV1 } from "@cdktf/provider-kubernetes/lib/role-v1";
import { NamespaceV1 } from "@cdktf/provider-kubernetes/lib/namespace-v1";
import { PodDisruptionBudgetV1 } from "@cdktf/provider-kubernetes/lib/pod-disruption-budget-v1";
import { ServiceV1 } from "@cdktf/provider-kubernetes/lib/service-v1";
import { StatefulSetV1 } from "@cdktf/provider-kubernetes/lib/stateful-set-v1";
import { StorageClassV1 } from "@cdktf/provider-kubernetes/lib/storage-class-v1";
import { parse } from "@cdktf/hcl2json";
import { Testing } from "cdktf";
import { bakerFileSchema } from "../../contract/baker-file";
import { watermarkName } from "../../contract/names";
import { expectFile, resourcesOf } from "../helpers/expected";
import {
  addresses,
  baker,
  bakerWith,
  delegates,
  expectResource,
  pod,
  resource,
  sshKey,
  type SynthesizedContainer,
} from "../helpers/synthesized";

const solo = (changes?: Parameters<typeof baker>[1]) => baker(false, changes);
const standby = (changes?: Parameters<typeof baker>[1]) => baker(true, changes);
const modes = [
  ["off", false, "alice-solo"],
  ["on", true, "alice-as"],
] as const;
const names = (list: readonly { name: string }[]) => list.map(({ name }) => name);
const initContainers = ["topology-guard", "configure-node", "import-snapshot", "import-keys"];
const watermark = "wm-6b82198cb179e8306c1bedd08f12dc863f328886";
const existing = { cluster: { existing: { context: "kind" } }, project: undefined, zones: ["z1", "z2"] };
const plain = bakerWith({ dal: { enabled: false } });

describe("the flag", () => {
  test("off: one replica on a regional disk, whose daemons simply run", () => {
    expectResource(solo(), StatefulSetV1, "alice-solo").toHave({
      spec: {
        replicas: "1",
        volume_claim_template: [
          {
            metadata: { name: "regional" },
            spec: { storage_class_name: "tezos-regional", access_modes: ["ReadWriteOnce"] },
          },
        ],
      } as never,
    });
    expectResource(solo(), StorageClassV1, "storage_regional").toHave({
      parameters: { type: "pd-ssd", "replication-type": "regional-pd" },
      allowed_topologies: { match_label_expressions: [{ values: ["us-central1-b", "us-central1-c"] }] },
    });
    expect(names(pod(solo(plain), "alice-solo").container)).toEqual(["octez-node", "sidecar", "baker"]);
    expect(names(pod(solo(plain), "alice-solo").init_container)).toEqual(initContainers);
  });
  test("on: one replica per zone on zonal disks, with election, gate and nonce exchange", () => {
    expectResource(standby(), StatefulSetV1, "alice-as").toHave({
      spec: {
        replicas: "2",
        pod_management_policy: "Parallel",
        volume_claim_template: [{ metadata: { name: "zonal" }, spec: { storage_class_name: "tezos-zonal" } }],
      } as never,
    });
    expectResource(standby(), StorageClassV1, "storage_zonal").toHave({
      parameters: { type: "pd-ssd", "replication-type": "none" },
      volume_binding_mode: "WaitForFirstConsumer",
      reclaim_policy: "Retain",
      allow_volume_expansion: true,
    });
    expect(names(pod(standby(plain), "alice-as").container)).toEqual([
      "octez-node",
      "sidecar",
      "elector",
      "baker",
      "signing-gate",
      "nonce-exposer",
      "nonce-importer",
    ]);
    expect(names(pod(standby(plain), "alice-as").init_container)).toEqual(initContainers);
  });
  test("on with three zones: three replicas; a regional disk still has two zones", () => {
    const zones = ["us-central1-a", "us-central1-b", "us-central1-f"];
    expect(resource(standby({ zones }), StatefulSetV1, "alice-as")).toHaveProperty("spec.replicas", "3");
    expect(resource(solo({ zones }), StorageClassV1, "storage_regional")).toHaveProperty(
      "allowed_topologies.match_label_expressions.0.values",
      zones.slice(0, 2),
    );
  });
  test("off and on differ in exactly these resources", () => {
    const off = addresses(solo());
    const on = addresses(standby());
    expect(off.filter((address) => !on.includes(address))).toEqual([
      "kubernetes_config_map_v1.alice-solo",
      "kubernetes_pod_disruption_budget_v1.alice-solo",
      "kubernetes_role_binding_v1.alice-solo",
      "kubernetes_role_v1.alice-solo",
      "kubernetes_service_account_v1.alice-solo",
      "kubernetes_service_v1.alice-solo",
      "kubernetes_service_v1.alice-solo-0_dal",
      "kubernetes_stateful_set_v1.alice-solo",
      "kubernetes_storage_class_v1.storage_regional",
    ]);
    expect(on.filter((address) => !off.includes(address))).toEqual([
      "kubernetes_config_map_v1.alice-as",
      "kubernetes_network_policy_v1.alice-members-in",
      "kubernetes_network_policy_v1.alice-members-out",
      "kubernetes_pod_disruption_budget_v1.alice-as",
      "kubernetes_role_binding_v1.alice-as",
      "kubernetes_role_v1.alice-as",
      "kubernetes_secret_v1.alice_nonce",
      "kubernetes_service_account_v1.alice-as",
      "kubernetes_service_v1.alice-as",
      "kubernetes_service_v1.alice-as-0_dal",
      "kubernetes_service_v1.alice-as-1_dal",
      "kubernetes_stateful_set_v1.alice-as",
      "kubernetes_storage_class_v1.storage_zonal",
    ]);
    const changed = off
      .filter((address) => on.includes(address))
      .filter((address) => {
        const [type = "", id = ""] = address.split(/\.(.*)/s);
        return (
          JSON.stringify(solo().document.resource[type]?.[id]) !==
          JSON.stringify(standby().document.resource[type]?.[id])
        );
      });
    expect(changed).toEqual(["kubernetes_network_policy_v1.alice-metrics"]);
  });
  test("on: the pods are spread over the zones and evicted one at a time", () => {
    expect(pod(standby(), "alice-as").topology_spread_constraint).toEqual([
      {
        max_skew: 1,
        topology_key: "topology.kubernetes.io/zone",
        when_unsatisfiable: "DoNotSchedule",
        label_selector: [
          { match_labels: { baker: "alice", topology: "active-standby", "app.kubernetes.io/component": "baking-pod" } },
        ],
      },
    ]);
    expectResource(standby(), PodDisruptionBudgetV1, "alice-as").toHave({
      spec: {
        max_unavailable: "1",
        selector: { match_labels: { baker: "alice", topology: "active-standby" } as never },
      },
    });
  });
});

describe.each(modes)("flag %s", (_name, flag, id) => {
  const stack = baker(flag, bakerWith({ accuser: true, authentication_key: delegates[1] }));
  const all = (): SynthesizedContainer[] => [...pod(stack, id).init_container, ...pod(stack, id).container];

  test("each container: not root, nothing to gain, read-only root, no capability, the runtime's seccomp profile", () => {
    for (const container of all())
      expect(container.security_context).toEqual({
        allow_privilege_escalation: false,
        capabilities: { drop: ["ALL"] },
        privileged: false,
        read_only_root_filesystem: true,
        run_as_group: "1000",
        run_as_non_root: true,
        run_as_user: "1000",
        seccomp_profile: { type: "RuntimeDefault" },
      });
    expect(pod(stack, id).security_context).toMatchObject({
      fs_group: "1000",
      fs_group_change_policy: "OnRootMismatch",
      run_as_non_root: true,
    });
  });
  test("each container has requests and limits, and a folder of its own for temporary files", () => {
    for (const { name, resources, volume_mount } of all()) {
      for (const side of [resources.requests, resources.limits])
        expect(Object.keys(side).sort()).toEqual(["cpu", "memory"]);
      expect(volume_mount).toContainEqual({ name: "tmp", mount_path: "/tmp", read_only: false, sub_path: name });
    }
  });
  test("the token of the API is mounted only where the API is called", () => {
    const callers = all().filter(({ volume_mount }) => volume_mount.some(({ name }) => name === "kube"));
    expect(names(callers)).toEqual(flag ? ["topology-guard", "elector", "signing-gate"] : ["topology-guard", "baker"]);
    expect(pod(stack, id)).toMatchObject({ automount_service_account_token: false, service_account_name: id });
    expect(pod(stack, id).volume.find(({ name }) => name === "kube")).toMatchObject({
      projected: [
        {
          sources: [
            { service_account_token: { path: "token" } },
            { config_map: [{ name: "kube-root-ca.crt", items: [{ key: "ca.crt", path: "ca.crt" }] }] },
            { downward_api: { items: [{ path: "namespace" }] } },
          ],
        },
      ],
    });
  });
  test("each container sees its own folders of the disk: none that talks to the internet sees the client's keys or the gate's marks", () => {
    const disk = (one: SynthesizedContainer) =>
      one.volume_mount
        .filter(({ mount_path }) => mount_path.startsWith("/var/tezos"))
        .map(({ mount_path, sub_path, read_only }) => {
          expect(mount_path).toBe(`/var/tezos/${sub_path}`);
          return read_only ? `${sub_path} (read-only)` : sub_path;
        });
    const seen = Object.fromEntries(all().flatMap((one) => (disk(one).length > 0 ? [[one.name, disk(one)]] : [])));
    expect(seen).toEqual({
      "configure-node": ["node"],
      "import-snapshot": ["node", "state/snapshot"],
      "import-keys": ["client"],
      "octez-node": ["node"],
      "octez-dal-node": ["state/dal"],
      baker: ["node", "client"],
      ...(flag && {
        "signing-gate": ["state"],
        "nonce-exposer": ["client (read-only)"],
        "nonce-importer": ["client", "state"],
      }),
    });
  });
  test("only import-keys sees the authentication key, only the nonce containers their secret", () => {
    const users = (volume: string) =>
      names(all().filter(({ volume_mount }) => volume_mount.some(({ name }) => name === volume)));
    expect(users("authentication")).toEqual(["import-keys"]);
    expect(users("secrets")).toEqual(flag ? ["nonce-exposer", "nonce-importer"] : []);
  });
  test("readiness is the sidecar's /ready, that elector and gate answer, and that the baker starts; each liveness is the process' own, or the node's through the sidecar", () => {
    const probed = all().flatMap(({ name, readiness_probe: ready }) => (ready ? [[name, ready.http_get]] : []));
    expect(probed).toEqual([
      ["octez-node", { path: "/ready", port: "31764" }],
      ...(flag
        ? [
            ["elector", { path: "/live", port: "4040" }],
            ["baker", { path: "/ready", port: "4041" }],
            ["signing-gate", { path: "/live", port: "4042" }],
          ]
        : [["baker", { path: "/ready", port: "4041" }]]),
    ]);
    const liveness = Object.fromEntries(
      all().flatMap(({ name, liveness_probe: live }) => (live ? [[name, live.http_get]] : [])),
    );
    expect(liveness).toEqual({
      "octez-node": { path: "/live", port: "31764" },
      sidecar: { path: "/status", port: "31764" },
      baker: { path: "/live", port: "4041" },
      "octez-dal-node": { path: "/metrics", port: "11733" },
      ...(flag && {
        elector: { path: "/live", port: "4040" },
        "signing-gate": { path: "/live", port: "4042" },
        "nonce-exposer": { path: "/live", port: "4247" },
        "nonce-importer": { path: "/live", port: "4043" },
      }),
    });
  });
  test("an elector or gate that hangs makes the pod unready within 8 s, and is left to tog-init before the kubelet ends it", () => {
    const seconds = (probe?: { period_seconds?: number; failure_threshold?: number; timeout_seconds?: number }) =>
      (probe?.period_seconds ?? 0) * (probe?.failure_threshold ?? 0) + (probe?.timeout_seconds ?? 0);
    const two = all().filter(({ name }) => name === "elector" || name === "signing-gate");
    expect(two).toHaveLength(flag ? 2 : 0);
    for (const { readiness_probe: ready, liveness_probe: live, startup_probe: startup } of two) {
      expect(seconds(ready)).toBeLessThanOrEqual(8);
      // tog-init replaces it within 8 s, and the new one needs some time.
      expect(seconds(live)).toBeGreaterThanOrEqual(16);
      expect(seconds(live)).toBeLessThanOrEqual(20);
      expect(seconds(startup)).toBeGreaterThanOrEqual(60);
    }
  });
  test("what must outlive SIGTERM waits for the handover; the baker's supervisor does not", () => {
    const waiting = all().filter(({ lifecycle }) => lifecycle);
    expect(names(waiting)).toEqual(flag ? ["octez-node", "sidecar", "elector", "signing-gate", "nonce-exposer"] : []);
    for (const { lifecycle } of waiting)
      expect(lifecycle).toEqual({ pre_stop: [{ http_get: { path: "/handed-over", port: "4044" } }] });
    expect(pod(stack, id).termination_grace_period_seconds).toBe(120);
  });
  test("a pod runs as local processes too: no command line holds a loopback address or one of the mount paths", () => {
    for (const { command, args } of all())
      expect(
        [
          ...command.filter((word) => !["/sbin/tini", "/usr/local/bin/tog-init", "/usr/local/bin/tog"].includes(word)),
          ...args,
        ].join(" "),
      ).not.toMatch(/127\.0\.0\.1|localhost|\/var\/|\/etc\/|\/tmp/);
  });
  test("no init container writes down the pod's address: with a new sandbox it is another one, and they do not all run again", () => {
    for (const { name, command, args } of all().filter(({ name }) => initContainers.includes(name)))
      expect([name, [...command, ...args].join(" ")]).not.toEqual([name, expect.stringContaining("TOG_POD_ADDRESS")]);
  });
  test("no text of a command is taken for a template by Terraform", () => {
    for (const { name, command, args } of all())
      expect([...command, ...(name === "octez-dal-node" ? args.slice(1) : args)].join(" ")).not.toMatch(/\$\{|%\{/);
  });
  test("Terraform does not wait for a node that synchronizes for hours, and never replaces the pods for a changed disk size", () => {
    expectResource(stack, StatefulSetV1, id).toHave({ wait_for_rollout: false });
    expect(resource(stack, StatefulSetV1, id)).toHaveProperty("lifecycle.ignore_changes", [
      "spec[0].volume_claim_template",
    ]);
    expect(resource(stack, StatefulSetV1, id)).toHaveProperty("spec.persistent_volume_claim_retention_policy", [
      { when_deleted: "Retain", when_scaled: "Retain" },
    ]);
  });
  test("the headless service publishes members that are not ready", () => {
    expectResource(stack, ServiceV1, id).toHave({ spec: { cluster_ip: "None", publish_not_ready_addresses: true } });
  });
  test("the namespace admits restricted pods only and is guarded", () => {
    expect(resource(stack, NamespaceV1, "namespace")).toMatchObject({
      metadata: { name: "tezos", labels: { "pod-security.kubernetes.io/enforce": "restricted" } },
      lifecycle: { prevent_destroy: true },
    });
  });
  test("every object comes after the namespace", () => {
    for (const [type, resources] of Object.entries(stack.document.resource))
      for (const [name, attributes] of Object.entries(resources))
        if (type !== "kubernetes_namespace_v1")
          expect([`${type}.${name}`, attributes.depends_on]).toEqual([
            `${type}.${name}`,
            expect.arrayContaining(["kubernetes_namespace_v1.namespace"]),
          ]);
  });
  test("a watermark per key is made empty, never written again and never destroyed", () => {
    expect(resource(stack, ConfigMapV1, watermark)).toMatchObject({
      metadata: { name: watermark, labels: { baker: "alice" } },
      lifecycle: { prevent_destroy: true, ignore_changes: ["data"] },
    });
    expect(resource(stack, ConfigMapV1, watermark)).not.toHaveProperty("data");
    const unguarded = baker(flag, { deletion_protection: false });
    expect(resource(unguarded, ConfigMapV1, watermark)).toHaveProperty("lifecycle.prevent_destroy", false);
  });
  test("no secret is in the output: only references to the sensitive variable, and a value that is drawn at apply", () => {
    const values = Object.values(stack.document.resource.kubernetes_secret_v1 ?? {}).flatMap(({ data, data_wo }) => {
      // What is not write-only is in the state.
      expect(data).toBeUndefined();
      return Object.values(data_wo as object);
    });
    expect(values.length).toBeGreaterThan(1);
    for (const value of values)
      expect(value).toMatch(
        /^\$\{(var\.secrets\.[\w."[\]-]+|sha256\(join\("", \[uuid\(\), uuid\(\), uuid\(\)\]\)\))\}$/,
      );
    expect(stack.document.variable?.secrets).toMatchObject({ sensitive: true });
  });
  test("access by Google's exec plugin over the DNS endpoint, never by a token, and GKE's own annotations stay", () => {
    expect(stack.document.provider?.kubernetes).toEqual([
      {
        exec: [{ api_version: "client.authentication.k8s.io/v1beta1", command: "gke-gcloud-auth-plugin" }],
        host: "https://${data.google_container_cluster.cluster.control_plane_endpoints_config[0].dns_endpoint_config[0].endpoint}",
        ignore_annotations: ["cloud[.]google[.]com/neg.*"],
      },
    ]);
  });
  test("an existing cluster needs no Google at all", () => {
    const own = baker(flag, {
      ...existing,
      cluster: { existing: { context: "kind", kubeconfig: "/kube", storage_class: "standard" } },
    });
    expect(Object.keys(own.document.provider ?? {}).sort()).toEqual(["helm", "kubernetes"]);
    expect(own.document.provider?.helm?.[0]).toEqual({
      kubernetes: { config_path: "/kube", config_context: "kind" },
    });
    expect(own.document.provider?.kubernetes?.[0]).toMatchObject({ config_path: "/kube", config_context: "kind" });
    expect(own.document.data).toBeUndefined();
    expect(Object.keys(own.document.terraform.required_providers).sort()).toEqual(["helm", "kubernetes"]);
    expect(own.document.resource).not.toHaveProperty("kubernetes_storage_class_v1");
    expect(resource(own, StatefulSetV1, id)).toHaveProperty(
      "spec.volume_claim_template.0.spec.storage_class_name",
      "standard",
    );
    expect(pod(own, id)).not.toHaveProperty("node_selector");
  });
  test("several bakers share a namespace and nothing else", () => {
    const bob = { delegate: delegates[1], hot_test_key: true, dal: { enabled: false } };
    const two = baker(flag, {
      bakers: { alice: { delegate: delegates[0], signers: { home1: { ssh_public_key: sshKey, port: 8443 } } }, bob },
    });
    const one = addresses(baker(flag));
    expect(one.filter((address) => !addresses(two).includes(address))).toEqual([]);
    for (const address of one) {
      const [type = "", name = ""] = address.split(/\.(.*)/s);
      expect(two.document.resource[type]?.[name]).toEqual(baker(flag).document.resource[type]?.[name]);
    }
  });
  test("the state lies under a prefix of its own", () => {
    expect(stack.document.terraform.backend).toEqual({ gcs: { bucket: "my-state", prefix: "tezos-on-gke/baker" } });
  });
  test("the outputs are what an operator needs", () => {
    expect(Object.keys(stack.document.output ?? {}).sort()).toEqual([
      "get_credentials_command",
      "leader_commands",
      "namespace",
      "signer_host",
      "signer_links",
      "signer_ports",
    ]);
    expect(stack.document.output?.leader_commands?.value).toEqual({
      alice: flag
        ? "kubectl -n tezos get lease alice.leader -o jsonpath='{.spec.holderIdentity}' # of alice-as"
        : "kubectl -n tezos get pods -l baker=alice,topology=solo",
    });
  });
  test("what is deployed is what was reviewed; HCL is a view of it that at least parses", async () => {
    // The baker's own resources by part; of both topologies only where they differ.
    const constructs = resourcesOf(stack, ([first]) => (first === "alice" ? 2 : 1));
    for (const [name, text] of constructs)
      expectFile(`${/^(alice|storage)/.test(name) ? `${id}/${name.replace("/", "-")}` : name}.yaml`, text);
    const hcl = Testing.synthHcl(stack.stack);
    const parsed = (await parse("baker.tf", hcl)) as { resource: Record<string, Record<string, unknown>> };
    expect(Object.keys(parsed.resource).sort()).toEqual(Object.keys(stack.document.resource).sort());
  });
});

describe("several keys", () => {
  const [present = "", next = ""] = [delegates[0], delegates[1]];
  const [bls, companion] = ["tz4T5ke56J3aKoFW6dTdLuuQtQF1vN65CUoh", "tz492iUYkJQb3rNdB2cMcexvFAQWC5BjnqGw"];
  const several = bakerWith({ consensus_keys: [present, next, bls], companion_keys: [companion] });
  const aliases = ["delegate", "consensus-2", "consensus-3", "companion"];
  const all = [present, next, bls, companion];

  test.each(modes)(
    "flag %s: octez-baker gets all of them at once, by the names of its client folder",
    (_f, flag, id) => {
      const stack = baker(flag, several);
      const { data } = resource(stack, ConfigMapV1, id) as { data: Record<string, string> };
      const file = bakerFileSchema.parse(JSON.parse(data["baker.json"] ?? ""));
      expect(file.keys.map(({ alias, address }) => [alias, address])).toEqual(
        aliases.map((alias, i) => [alias, all[i]]),
      );
      const command = file.daemons[0]?.command ?? [];
      expect(command.slice(command.indexOf("$(TOG_NODE_DIR)") + 1).slice(0, 5)).toEqual([
        ...aliases,
        "--liquidity-baking-toggle-vote",
      ]);
      const client = pod(stack, id).init_container.find(({ name }) => name === "import-keys")?.args ?? [];
      expect(JSON.parse(client[0] ?? "")).toEqual(aliases.map((name, i) => ({ name, value: all[i] })));
    },
  );
  test("each has a watermark of its own, made with the deployment that names it, which the gate may write", () => {
    const stack = standby(several);
    for (const address of all) expect(resource(stack, ConfigMapV1, watermarkName(address))).not.toHaveProperty("data");
    const role = JSON.stringify(resource(stack, RoleV1, "alice-as"));
    for (const address of all) expect(role).toContain(watermarkName(address));
  });
});

describe("what a changed configuration does to running pods", () => {
  const annotation = (changes: Parameters<typeof baker>[1]) =>
    resource(standby(changes), StatefulSetV1, "alice-as") as {
      spec: { template: { metadata: { annotations: Record<string, string> } } };
    };
  const checksum = (changes: Parameters<typeof baker>[1]) =>
    annotation(changes).spec.template.metadata.annotations["tezos-on-gke/config"];

  test("what octez-baker is told is followed by the supervisor: no pod restarts", () => {
    expect(checksum(bakerWith({ liquidity_baking_vote: "off", extra_baker_args: ["--x"] }))).toBe(
      checksum(bakerWith({})),
    );
    expect(resource(standby(bakerWith({ liquidity_baking_vote: "off" })), ConfigMapV1, "alice-as")).not.toEqual(
      resource(standby(bakerWith({})), ConfigMapV1, "alice-as"),
    );
  });
  test("the gate follows the signers: no pod restarts", () => {
    const signers = {
      home1: { ssh_public_key: sshKey, port: 8443, deterministic: true },
      home2: { ssh_public_key: sshKey, port: 8500 },
    };
    expect(checksum(bakerWith({ signers }))).toBe(checksum(bakerWith({})));
  });
  test.each([
    ["timings", { timings: { stop_grace_seconds: 3 } }],
    ["keys", bakerWith({ consensus_keys: [delegates[1]] })],
    ["a next key beside the present one", bakerWith({ consensus_keys: [delegates[0], delegates[1]] })],
    ["the age of a ready head", { head_max_age_seconds: 100 }],
  ])("%s are read at start: the pods restart one after the other", (_what, changes) => {
    expect(checksum(changes)).not.toBe(checksum(bakerWith({})));
  });
});

describe("the data availability layer", () => {
  test("each pod has a load balancer, and its DAL node is told that address", () => {
    for (const name of ["alice-as-0", "alice-as-1"])
      expectResource(standby(), ServiceV1, `${name}_dal`).toHave({
        spec: { type: "LoadBalancer", selector: { "statefulset.kubernetes.io/pod-name": name } },
      });
    expect(pod(standby(), "alice-as").container.find(({ name }) => name === "octez-dal-node")?.args[0]).toBe(
      ["alice-as-0", "alice-as-1"]
        .map(
          (name) =>
            `${name}=\${try(kubernetes_service_v1.${name}_dal.status[0].load_balancer[0].ingress[0].ip, "")}:11732`,
        )
        .join(" "),
    );
  });
  test("given addresses take the load balancers' place", () => {
    const stack = standby(bakerWith({ dal: { public_addresses: ["203.0.113.1:11732", "203.0.113.2:11732"] } }));
    expect(addresses(stack).filter((address) => address.endsWith("_dal"))).toEqual([]);
    expect(pod(stack, "alice-as").container.find(({ name }) => name === "octez-dal-node")?.args[0]).toBe(
      "alice-as-0=203.0.113.1:11732 alice-as-1=203.0.113.2:11732",
    );
  });
  test("a cluster without load balancers neither stops the apply nor invents an address", () => {
    const stack = standby(existing);
    expectResource(stack, ServiceV1, "alice-as-0_dal").toHave({ wait_for_load_balancer: false });
    expect(pod(stack, "alice-as").container.find(({ name }) => name === "octez-dal-node")?.command).toEqual([
      "octez-dal-node",
    ]);
  });
});
