/** What both topologies of a baker have in common. A topology supplies its parts; nothing here asks for the flag. */
import { ConfigMapV1 } from "@cdktf/provider-kubernetes/lib/config-map-v1";
import { PodDisruptionBudgetV1 } from "@cdktf/provider-kubernetes/lib/pod-disruption-budget-v1";
import type { RoleV1Rule } from "@cdktf/provider-kubernetes/lib/role-v1";
import { SecretV1 } from "@cdktf/provider-kubernetes/lib/secret-v1";
import { ServiceV1 } from "@cdktf/provider-kubernetes/lib/service-v1";
import { StatefulSetV1 } from "@cdktf/provider-kubernetes/lib/stateful-set-v1";
import type { ITerraformDependable } from "cdktf";
import { Construct } from "constructs";
import type { BakerFile } from "../../contract/baker-file";
import { mounts } from "../../contract/env";
import { headlessServiceName, labels, podName, statefulSetName, type Topology } from "../../contract/names";
import { ports } from "../../contract/ports";
import type { BakerConfiguration, Configuration } from "../../configuration/schema";
import { secretReference, writeOnly } from "../variables";
import { authenticationKeyFile, podScripts } from "../containers/octez";
import { type Component, objectLabels, pin, selectorLabels } from "../element";
import type { Images } from "../images";
import { signingKeys } from "../signer/baker-signers";
import { bakerFile, restartChecksum } from "./baker-file-contents";
import { BakerNetworkPolicies } from "./baker-network-policies";
import { BakerRole } from "./baker-role";
import { authenticationSecretName, bakingPodSpec, rowsOf } from "./baking-pod";
import { DalServices } from "./dal-services";
import type { BakerStorage } from "./zonal-storage";
import { Watermarks } from "./watermarks";

export interface BakerProps {
  readonly name: string;
  readonly settings: BakerConfiguration;
  readonly configuration: Configuration;
  readonly images: Images;
  readonly storage: BakerStorage;
  /** Whose pods hold the keys, or lead to them. @default none: every signer has a URL */
  readonly signer?: Component;
  readonly monitoringNamespaces: readonly string[];
  /** Labels of the nodes for baking pods. @default any node */
  readonly nodeSelector?: Readonly<Record<string, string>>;
}

/** What a topology is made of. */
export interface TopologyParts {
  readonly topology: Topology;
  readonly members: number;
  /** Pods of the other topology that may still exist. */
  readonly otherMembers: number;
  /** What octez-baker's `-R` names. */
  readonly signerUrl: string;
  /** Signatures pass a gate, and a pod that ends hands over first. */
  readonly gated: boolean;
  readonly rules: (file: BakerFile) => RoleV1Rule[];
  /** Secret of the nonce exchange. @default none: there is nobody to exchange with */
  readonly nonceSecretName?: string;
  /** Spread of the pods. */
  readonly spreadOverZones: boolean;
}

/**
 * A configured baker may have more members than it has now while the flag is off: the guard asks for as many as there
 * can be.
 */
export const maxMembers = 3;

export abstract class Baker extends Construct {
  readonly statefulSetName: string;
  readonly serviceName: string;
  readonly file: BakerFile;
  /** Labels by which the pods of this topology are selected. */
  private readonly selector: Readonly<Record<string, string>>;

  protected constructor(
    scope: Construct,
    id: string,
    private readonly props: BakerProps,
    private readonly parts: TopologyParts,
  ) {
    super(scope, id);
    const { name, settings, configuration } = props;
    const { namespace } = configuration;
    const { topology } = parts;
    this.statefulSetName = statefulSetName(name, topology);
    this.serviceName = headlessServiceName(name, topology);
    this.file = bakerFile({ ...parts, baker: name, settings, configuration });
    this.selector = { ...selectorLabels(name, "baking-pod"), [labels.topology]: topology };

    new Watermarks(this, "watermarks", {
      namespace,
      baker: name,
      keys: signingKeys(settings),
      deletionProtection: configuration.deletion_protection,
    });
    const role = new BakerRole(this, "role", {
      namespace,
      baker: name,
      name: this.statefulSetName,
      rules: parts.rules(this.file),
    });
    new BakerNetworkPolicies(this, "network", {
      namespace,
      baker: name,
      settings,
      signer: props.signer,
      publicApi: configuration.cluster !== undefined,
      containers: rowsOf(topology, settings).map(([, row]) => row),
      monitoringNamespaces: props.monitoringNamespaces,
    });
    const config = this.config();
    const authentication = settings.authentication_key === undefined ? [] : [this.authentication()];
    const service = this.service();
    this.budget();
    const dal = settings.dal.enabled
      ? new DalServices(this, "dal", {
          namespace,
          baker: name,
          settings,
          podNames: Array.from({ length: parts.members }, (_, i) => podName(name, topology, i)),
          google: configuration.cluster === undefined,
        })
      : undefined;
    this.statefulSet(role.serviceAccountName, dal, [config, service, role.binding, ...authentication]);
  }

  private metadata(name: string) {
    return {
      name,
      namespace: this.props.configuration.namespace,
      labels: objectLabels({ [labels.baker]: this.props.name, [labels.topology]: this.parts.topology }),
    };
  }

  private config(): ConfigMapV1 {
    return pin(
      new ConfigMapV1(this, "config", {
        metadata: this.metadata(this.statefulSetName),
        data: { [configKey]: JSON.stringify(this.file, null, 2), ...podScripts() },
      }),
      this.statefulSetName,
    );
  }

  private authentication(): SecretV1 {
    const { name } = this.props;
    return pin(
      new SecretV1(this, "authentication", {
        // Not of one topology: the key stays where the flag changes.
        metadata: {
          ...this.metadata(authenticationSecretName(name)),
          labels: objectLabels({ [labels.baker]: name }),
        },
        ...writeOnly({ [authenticationKeyFile]: secretReference("authentication_keys", name) }, [
          "authentication_keys",
          name,
        ]),
      }),
      name,
      "authentication",
    );
  }

  private service(): ServiceV1 {
    return pin(
      new ServiceV1(this, "service", {
        metadata: this.metadata(this.serviceName),
        spec: {
          clusterIp: "None",
          selector: this.selector,
          // An unready member still gives and takes nonces.
          publishNotReadyAddresses: true,
          port: [{ name: "p2p", port: ports.octezP2p, targetPort: String(ports.octezP2p), protocol: "TCP" }],
        },
      }),
      this.statefulSetName,
    );
  }

  private budget(): void {
    pin(
      new PodDisruptionBudgetV1(this, "budget", {
        metadata: this.metadata(this.statefulSetName),
        spec: { maxUnavailable: "1", selector: { matchLabels: this.selector } },
      }),
      this.statefulSetName,
    );
  }

  private statefulSet(
    serviceAccountName: string,
    dal: DalServices | undefined,
    dependsOn: ITerraformDependable[],
  ): void {
    const { configuration, storage } = this.props;
    const podLabels = objectLabels({ ...this.selector, [labels.name]: this.statefulSetName });
    const checksum = restartChecksum(this.file);
    pin(
      new StatefulSetV1(this, "stateful-set", {
        metadata: this.metadata(this.statefulSetName),
        // A node synchronizes for hours.
        waitForRollout: false,
        spec: {
          serviceName: this.serviceName,
          replicas: String(this.parts.members),
          podManagementPolicy: "Parallel",
          minReadySeconds: 10,
          revisionHistoryLimit: 10,
          updateStrategy: [{ type: "RollingUpdate", rollingUpdate: [{ partition: 0 }] }],
          persistentVolumeClaimRetentionPolicy: [{ whenDeleted: "Retain", whenScaled: "Retain" }],
          selector: { matchLabels: this.selector },
          template: {
            metadata: { labels: podLabels, annotations: { "tezos-on-gke/config": checksum } },
            spec: bakingPodSpec({
              ...this.props,
              ...this.parts,
              statefulSetName: this.statefulSetName,
              selector: this.selector,
              serviceAccountName,
              dalAddresses: dal?.publicAddresses,
            }),
          },
          volumeClaimTemplate: [
            {
              metadata: { name: storage.claimName, labels: objectLabels(this.selector) },
              spec: {
                accessModes: ["ReadWriteOnce"],
                storageClassName: storage.storageClassName,
                resources: { requests: { storage: `${configuration.disk.size_gib}Gi` } },
              },
            },
          ],
        },
        // A changed size would replace the StatefulSet and with it both pods; disks are resized by hand.
        lifecycle: { ignoreChanges: ["spec[0].volume_claim_template"] },
        dependsOn,
      }),
      this.statefulSetName,
    );
  }
}

/** The file's name in the ConfigMap, as the mount shows it. */
const configKey = mounts.configFile.slice(mounts.configDir.length + 1);
