/** Everything inside Kubernetes. Finds its cluster by name, or takes any kubeconfig context. */
import { NamespaceV1 } from "@cdktf/provider-kubernetes/lib/namespace-v1";
import {
  Annotations,
  Aspects,
  dependable,
  type IAspect,
  TerraformOutput,
  TerraformResource,
  TerraformStack,
} from "cdktf";
import type { Construct, IConstruct } from "constructs";
import { leaderLeaseName } from "../contract/names";
import { ActiveStandbyBaker } from "./baker/active-standby-baker";
import type { Baker } from "./baker/baker";
import { DefaultDeny } from "./baker/baker-network-policies";
import { RegionalStorage } from "./baker/regional-storage";
import { SoloBaker } from "./baker/solo-baker";
import { ZonalStorage } from "./baker/zonal-storage";
import { type ClusterAccess, ExistingAccess, GkeAccess } from "./cluster-access";
import type { Configuration } from "../configuration/schema";
import { declareVariables } from "./variables";
import { objectLabels, pin, protect, withoutCreationTraces } from "./element";
import { resolveImages, unpinnedImages } from "./images";
import { Monitoring, monitoringNamespaces } from "./monitoring/monitoring";
import { Signers } from "./signer/signers";
import { stateBackend } from "./state-backend";

export interface BakerStackProps {
  readonly configuration: Configuration;
  /** Picks the topology at synth: one baking node per zone instead of one on a regional disk. */
  readonly experimentalActiveStandbyMode: boolean;
}

/** The one place where the flag decides. */
const topologies = {
  solo: { Storage: RegionalStorage, Baker: SoloBaker },
  activeStandby: { Storage: ZonalStorage, Baker: ActiveStandbyBaker },
};

/** Kubernetes objects are made after their namespace and deleted before it. */
class AfterNamespace implements IAspect {
  constructor(private readonly namespace: NamespaceV1) {}
  visit(node: IConstruct): void {
    if (
      node instanceof TerraformResource &&
      node !== this.namespace &&
      /^(kubernetes|helm)_/.test(node.terraformResourceType)
    )
      node.dependsOn = [...(node.dependsOn ?? []), dependable(this.namespace)];
  }
}

export class BakerStack extends TerraformStack {
  constructor(scope: Construct, id: string, props: BakerStackProps) {
    super(scope, id);
    withoutCreationTraces(() => this.declare(id, props));
  }

  private declare(id: string, props: BakerStackProps): void {
    const { configuration } = props;
    const { namespace } = configuration;
    const existing = configuration.cluster?.existing;
    declareVariables(this, configuration);
    stateBackend(this, id, configuration);
    const access = existing
      ? new ExistingAccess(this, "cluster", {
          configuration,
          context: existing.context,
          kubeconfig: existing.kubeconfig,
        })
      : new GkeAccess(this, "cluster", { configuration });
    Aspects.of(this).add(new AfterNamespace(this.namespace(configuration)));
    new DefaultDeny(this, "default-deny", { namespace });

    const images = resolveImages(configuration);
    for (const name of unpinnedImages(configuration))
      Annotations.of(this).addWarning(
        `images.${name}: no digest; run \`npm run publish-images\`, which writes images.auto.tfvars.json`,
      );

    const { Storage, Baker } = props.experimentalActiveStandbyMode ? topologies.activeStandby : topologies.solo;
    const storage = new Storage(this, "storage", {
      namespace,
      zones: configuration.zones,
      diskType: configuration.disk.type,
      existingStorageClass: existing?.storage_class,
    });
    const signers = new Signers(this, "signers", { configuration, images, access });
    const bakers = Object.entries(configuration.bakers).map(
      ([name, settings]) =>
        new Baker(this, name, {
          name,
          settings,
          configuration,
          images,
          storage,
          signer: signers.componentOf(name),
          monitoringNamespaces: monitoringNamespaces(configuration),
          nodeSelector: access.nodeSelector,
        }),
    );
    new Monitoring(this, "monitoring", { configuration, access });
    this.outputs(configuration, access, signers, bakers);
  }

  private namespace(configuration: Configuration): NamespaceV1 {
    return pin(
      new NamespaceV1(this, "namespace", {
        metadata: {
          name: configuration.namespace,
          labels: objectLabels(
            Object.fromEntries(
              ["enforce", "warn", "audit"].map((mode) => [`pod-security.kubernetes.io/${mode}`, "restricted"]),
            ),
          ),
        },
        // It holds the claims of the disks, the watermarks and the leases.
        lifecycle: protect(configuration.deletion_protection),
      }),
      "namespace",
    );
  }

  private outputs(
    { namespace, cluster }: Configuration,
    access: ClusterAccess,
    signers: Signers,
    bakers: readonly Baker[],
  ): void {
    const output = (name: string, value: unknown, description: string): void => {
      pin(new TerraformOutput(this, `output-${name}`, { value, description }), name);
    };
    const kubectl = `kubectl ${cluster ? `--context ${cluster.existing.context} ` : ""}-n ${namespace}`;
    output("namespace", namespace, "Kubernetes namespace of the bakers.");
    if (access.credentialsCommand !== undefined)
      output("get_credentials_command", access.credentialsCommand, "Gives kubectl access to the cluster.");
    output(
      "leader_commands",
      Object.fromEntries(
        bakers.map(({ file, statefulSetName }) => [
          file.baker,
          file.topology === "solo"
            ? `${kubectl} get pods -l baker=${file.baker},topology=solo`
            : `${kubectl} get lease ${leaderLeaseName(file.baker)} -o jsonpath='{.spec.holderIdentity}' # of ${statefulSetName}`,
        ]),
      ),
      "Baker -> command that shows who bakes.",
    );
    output("signer_links", signers.links, "What the signer hosts at home need: `npm run signer-host`.");
    output("signer_host", signers.host, "Address of the signer link.");
    output(
      "signer_ports",
      Object.fromEntries(
        signers.links.map(({ baker, signer, tunnels }) => [`${baker}/${signer}`, tunnels.map(({ port }) => port)]),
      ),
      "Baker/signer -> ports of its tunnels.",
    );
  }
}
