/** What the cluster stands on: each row of the hardening list is a test. */
import { ArtifactRegistryRepositoryIamMember } from "@cdktf/provider-google/lib/artifact-registry-repository-iam-member";
import { ComputeNetwork } from "@cdktf/provider-google/lib/compute-network";
import { ComputeRouterNat } from "@cdktf/provider-google/lib/compute-router-nat";
import { ComputeSubnetwork } from "@cdktf/provider-google/lib/compute-subnetwork";
import { ContainerCluster } from "@cdktf/provider-google/lib/container-cluster";
import { ContainerNodePool } from "@cdktf/provider-google/lib/container-node-pool";
import { KmsCryptoKey } from "@cdktf/provider-google/lib/kms-crypto-key";
import { KmsCryptoKeyIamMember } from "@cdktf/provider-google/lib/kms-crypto-key-iam-member";
import { ProjectIamMember } from "@cdktf/provider-google/lib/project-iam-member";
import { ProjectService } from "@cdktf/provider-google/lib/project-service";
import { ServiceAccountIamMember } from "@cdktf/provider-google/lib/service-account-iam-member";
import { parse } from "@cdktf/hcl2json";
import { Testing } from "cdktf";
import { expectFile, resourcesOf } from "../helpers/expected";
import { addresses, bakerWith, expectResource, ids, platform, resource, type Snake } from "../helpers/synthesized";

const cluster = (
  attributes: Parameters<ReturnType<typeof expectResource<ClusterConfig>>["toHave"]>[0],
  changes?: object,
) => expectResource(platform(changes), ContainerCluster, "cluster").toHave(attributes);
type ClusterConfig = ConstructorParameters<typeof ContainerCluster>[2];
const pool = (attributes: Snake<ConstructorParameters<typeof ContainerNodePool>[2]>) =>
  expectResource(platform(), ContainerNodePool, "bakers").toHave(attributes);

describe("the hardening list", () => {
  test("topology: a regional control plane over exactly the configured zones, one node in each, no default pool", () => {
    cluster({
      location: "us-central1",
      node_locations: ["us-central1-b", "us-central1-c"],
      remove_default_node_pool: true,
    });
    cluster(
      { node_locations: ["us-central1-a", "us-central1-b", "us-central1-f"] },
      { zones: ["us-central1-a", "us-central1-b", "us-central1-f"] },
    );
    pool({ location: "us-central1", node_locations: ["us-central1-b", "us-central1-c"], node_count: 1 });
    expect(resource(platform(), ContainerNodePool, "bakers")).not.toHaveProperty("autoscaling");
  });
  test("private nodes: no node has an address; pods and services have ranges of their own; NAT has one fixed address", () => {
    cluster({
      private_cluster_config: { enable_private_nodes: true },
      networking_mode: "VPC_NATIVE",
      ip_allocation_policy: { cluster_secondary_range_name: "pods", services_secondary_range_name: "services" },
    });
    expectResource(platform(), ComputeRouterNat, "nat").toHave({
      nat_ip_allocate_option: "MANUAL_ONLY",
      nat_ips: ["${google_compute_address.nat.self_link}"],
      source_subnetwork_ip_ranges_to_nat: "LIST_OF_SUBNETWORKS",
    });
  });
  test("control plane: Google's IAM-gated DNS endpoint and no address", () => {
    cluster({
      private_cluster_config: { enable_private_nodes: true, enable_private_endpoint: true },
      control_plane_endpoints_config: {
        dns_endpoint_config: { allow_external_traffic: true },
        ip_endpoints_config: { enabled: false },
      },
    });
    expect(resource(platform(), ContainerCluster, "cluster")).not.toHaveProperty("master_authorized_networks_config");
  });
  test("control plane: an address only for the authorized networks, not for Google's public ranges", () => {
    cluster(
      {
        control_plane_endpoints_config: {
          dns_endpoint_config: { allow_external_traffic: false },
          ip_endpoints_config: { enabled: true },
        },
        master_authorized_networks_config: {
          gcp_public_cidrs_access_enabled: false,
          cidr_blocks: [{ cidr_block: "203.0.113.7/32", display_name: "home-1" }],
        },
      },
      { control_plane: { endpoint: "ip", authorized_networks: { "home-1": "203.0.113.7/32" } } },
    );
  });
  test("identity: workload identity, the metadata server of GKE, no client certificate, no legacy authorization", () => {
    cluster({
      workload_identity_config: { workload_pool: "my-baker-1234.svc.id.goog" },
      master_auth: { client_certificate_config: { issue_client_certificate: false } },
      anonymous_authentication_config: { mode: "LIMITED" },
      enable_legacy_abac: false,
      node_config: { workload_metadata_config: { mode: "GKE_METADATA" } },
    });
    pool({
      node_config: {
        workload_metadata_config: { mode: "GKE_METADATA" },
        metadata: { "disable-legacy-endpoints": "true" },
      },
    });
  });
  test("identity: no key of a service account anywhere", () => {
    expect(addresses(platform()).filter((address) => address.startsWith("google_service_account_key"))).toEqual([]);
  });
  test("shielded: secure boot and integrity monitoring on every node", () => {
    const shielded = { shielded_instance_config: { enable_secure_boot: true, enable_integrity_monitoring: true } };
    cluster({ enable_shielded_nodes: true, node_config: shielded });
    pool({ node_config: { ...shielded, image_type: "COS_CONTAINERD" } });
  });
  test("network: Dataplane V2, visible traffic inside a node, the old policy add-on explicitly off", () => {
    cluster({
      datapath_provider: "ADVANCED_DATAPATH",
      enable_intranode_visibility: true,
      network_policy: { enabled: false },
      addons_config: { network_policy_config: { disabled: true } },
    });
    expectResource(platform(), ComputeNetwork, "network").toHave({ auto_create_subnetworks: false });
    expectResource(platform(), ComputeSubnetwork, "subnetwork").toHave({
      private_ip_google_access: true,
      log_config: { metadata: "INCLUDE_ALL_METADATA" },
    });
  });
  test("channel: STABLE, with the configured window and exclusions of node upgrades", () => {
    cluster({
      release_channel: { channel: "STABLE" },
      maintenance_policy: {
        recurring_window: {
          start_time: "2026-01-05T08:00:00Z",
          end_time: "2026-01-05T14:00:00Z",
          recurrence: "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH",
        },
      },
    });
    cluster(
      {
        maintenance_policy: {
          maintenance_exclusion: [
            {
              exclusion_name: "protocol",
              start_time: "2026-12-01T00:00:00Z",
              end_time: "2026-12-04T00:00:00Z",
              exclusion_options: { scope: "NO_MINOR_OR_NODE_UPGRADES" },
            },
          ],
        },
      },
      { maintenance: { exclusions: { protocol: { start: "2026-12-01T00:00:00Z", end: "2026-12-04T00:00:00Z" } } } },
    );
  });
  test("upgrades: repaired and upgraded by Google, one more node at a time and never one fewer", () => {
    pool({
      management: { auto_repair: true, auto_upgrade: true },
      upgrade_settings: {
        strategy: "BLUE_GREEN",
        blue_green_settings: {
          standard_rollout_policy: { batch_node_count: 1, batch_soak_duration: "3600s" },
          node_pool_soak_duration: "3600s",
        },
      },
    });
  });
  test("secrets: encrypted with our own key, which is rotated every 90 days and which GKE may use before the cluster is made", () => {
    cluster({ database_encryption: { state: "ENCRYPTED", key_name: "${google_kms_crypto_key.cluster_secrets.id}" } });
    expectResource(platform(), KmsCryptoKey, "cluster_secrets").toHave({
      rotation_period: "7776000s",
      purpose: "ENCRYPT_DECRYPT",
    });
    expectResource(platform(), KmsCryptoKeyIamMember, "cluster_secrets").toHave({
      role: "roles/cloudkms.cryptoKeyEncrypterDecrypter",
    });
    expect(resource(platform(), ContainerCluster, "cluster")).toHaveProperty(
      "depends_on",
      expect.arrayContaining(["google_kms_crypto_key_iam_member.cluster_secrets"]),
    );
  });
  test("monitoring: components, managed Prometheus, logs, cost", () => {
    cluster({
      monitoring_config: { managed_prometheus: { enabled: true } },
      logging_config: { enable_components: ["SYSTEM_COMPONENTS", "WORKLOADS"] },
      cost_management_config: { enabled: true },
    });
    expect(resource(platform(), ContainerCluster, "cluster")).toHaveProperty(
      "monitoring_config.enable_components",
      expect.arrayContaining(["STATEFULSET", "POD", "STORAGE"]),
    );
  });
  test("node identity: an account of their own with the two least roles, pulling from our registry only", () => {
    pool({ node_config: { service_account: "${google_service_account.nodes.email}" } });
    cluster({ node_config: { service_account: "${google_service_account.nodes.email}" } });
    expect(ids(platform(), ProjectIamMember)).toEqual(["nodes"]);
    expectResource(platform(), ProjectIamMember, "nodes").toHave({ role: "roles/container.defaultNodeServiceAccount" });
    expectResource(platform(), ArtifactRegistryRepositoryIamMember, "nodes").toHave({
      role: "roles/artifactregistry.reader",
      repository: "${google_artifact_registry_repository.registry.repository_id}",
    });
  });
  test("extras: no read-only port of the kubelet, labels on the resources", () => {
    cluster({
      node_pool_defaults: { node_config_defaults: { insecure_kubelet_readonly_port_enabled: "FALSE" } },
      resource_labels: { "part-of": "tezos-on-gke", environment: "tezos" },
    });
    pool({ node_config: { kubelet_config: { insecure_kubelet_readonly_port_enabled: "FALSE" } } });
    cluster({ resource_labels: { team: "bakery" } }, { labels: { team: "bakery" } });
  });
  test("never spot or preemptible nodes", () => pool({ node_config: { spot: false, preemptible: false } }));
  test("safety: deletion protection on the cluster, prevent_destroy on all that holds state", () => {
    cluster({ deletion_protection: true });
    const guarded = [
      ["google_container_cluster", "cluster"],
      ["google_kms_key_ring", "keys"],
      ["google_kms_crypto_key", "cluster_secrets"],
      ["google_compute_address", "signer_link"],
      ["google_artifact_registry_repository", "registry"],
    ] as const;
    for (const [type, id] of guarded) {
      expect(platform().document.resource[type]?.[id]).toHaveProperty("lifecycle.prevent_destroy", true);
      expect(platform({ deletion_protection: false }).document.resource[type]?.[id]).toHaveProperty(
        "lifecycle.prevent_destroy",
        false,
      );
    }
    cluster({ deletion_protection: false }, { deletion_protection: false });
  });
});

test("the default machine has 4 cores and 32 GB; another one is taken as given", () => {
  pool({ node_config: { machine_type: "e2-highmem-4", labels: { "tezos-on-gke/pool": "baker" } } });
  expectResource(platform({ machine_type: "n4-highmem-4" }), ContainerNodePool, "bakers").toHave({
    node_config: { machine_type: "n4-highmem-4" },
  });
});
test("the required services stay on when the platform is destroyed, because others in the project may use them", () => {
  expect(ids(platform(), ProjectService)).toEqual(
    expect.arrayContaining(["service_container", "service_cloudkms", "service_compute"]),
  );
  for (const id of ids(platform(), ProjectService))
    expectResource(platform(), ProjectService, id).toHave({ disable_on_destroy: false });
});
test("a key in Google's KMS may be used by the one service account of its baker's signer, without a key of that account", () => {
  const key = "projects/p/locations/l/keyRings/r/cryptoKeys/k";
  const stack = platform({
    bakers: { carol: { delegate: "tz3hw2kqXhLUvY65ca1eety2oQTpAvd34R9Q", cloud_key: `${key}/cryptoKeyVersions/2` } },
  });
  expectResource(stack, KmsCryptoKeyIamMember, "cloud_signer_carol_signer").toHave({
    crypto_key_id: key,
    role: "roles/cloudkms.signer",
  });
  expectResource(stack, ServiceAccountIamMember, "cloud_signer_carol").toHave({
    role: "roles/iam.workloadIdentityUser",
    member: "serviceAccount:my-baker-1234.svc.id.goog[tezos/carol-signer-cloud]",
  });
});
test("the outputs are what an operator needs", () => {
  expect(Object.keys(platform().document.output ?? {}).sort()).toEqual([
    "cluster_name",
    "get_credentials_command",
    "nat_addresses",
    "registry",
    "signer_link_address",
  ]);
  expect(platform().document.output?.get_credentials_command?.value).toBe(
    "gcloud container clusters get-credentials tezos --project my-baker-1234 --location us-central1 --dns-endpoint",
  );
});
test("the state lies in the configured bucket, one prefix per environment and stack", () => {
  expect(platform({ state: { bucket: "my-state", prefix: "mainnet" } }).document.terraform.backend).toEqual({
    gcs: { bucket: "my-state", prefix: "mainnet/platform" },
  });
});
test("without a bucket the state is a file in the project's folder, by a relative path, with a warning", () => {
  const { document, stack } = platform({ state: undefined });
  expect(document.terraform.backend).toEqual({ local: { path: "../../../terraform.platform.tfstate" } });
  expect(stack.node.metadata.map(({ data }) => String(data)).join()).toContain("terraform.platform.tfstate");
});
test("bakers do not change the platform, except for keys in Google's KMS", () => {
  const other = platform(bakerWith({ accuser: true, dal: { enabled: false } }));
  expect(other.document.resource).toEqual(platform().document.resource);
});
test("the addresses in the state are a contract: whoever changes one moves the resource", () => {
  expect(addresses(platform())).toEqual([
    "google_artifact_registry_repository.registry",
    "google_artifact_registry_repository_iam_member.nodes",
    "google_compute_address.nat",
    "google_compute_address.signer_link",
    "google_compute_network.network",
    "google_compute_router.router",
    "google_compute_router_nat.nat",
    "google_compute_subnetwork.subnetwork",
    "google_container_cluster.cluster",
    "google_container_node_pool.bakers",
    "google_kms_crypto_key.cluster_secrets",
    "google_kms_crypto_key_iam_member.cluster_secrets",
    "google_kms_key_ring.keys",
    "google_project_iam_member.nodes",
    "google_project_service.service_artifactregistry",
    "google_project_service.service_cloudkms",
    "google_project_service.service_cloudresourcemanager",
    "google_project_service.service_compute",
    "google_project_service.service_container",
    "google_project_service.service_iam",
    "google_project_service.service_logging",
    "google_project_service.service_monitoring",
    "google_service_account.nodes",
  ]);
});
test("what is deployed is what was reviewed; HCL is a view of it that at least parses", async () => {
  for (const [name, text] of resourcesOf(platform(), (path) => path.length - 1))
    expectFile(`platform/${name || "stack"}.yaml`, text);
  const hcl = Testing.synthHcl(platform().stack);
  const parsed = (await parse("platform.tf", hcl)) as { resource: Record<string, Record<string, unknown>> };
  expect(Object.keys(parsed.resource).sort()).toEqual(Object.keys(platform().document.resource).sort());
});
