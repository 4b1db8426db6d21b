/** What both topologies of a baker have in common. A topology supplies its parts; nothing here asks for the flag. */
import { ConfigMapV1 } from "@cdktf/provider-kubernetes/lib/config-map-v1";
import { PodDisruptionBudgetV1 } from "@cdktf/provider-kubernetes/lib/pod-disruption-budget-v1";
import type { RoleV1Rule } from "@cdktf/provider-kubernetes/lib/role-v1";
import { SecretV1 } from "@cdktf/provider-kubernetes/lib/secret-v1";
import { ServiceV1 } from "@cdktf/provider-kubernetes/lib/service-v1";
import {
  StatefulSetV1,
  type StatefulSetV1SpecTemplateSpecVolume,
} from "@cdktf/provider-kubernetes/lib/stateful-set-v1";
import type { ITerraformDependable } from "cdktf";
import { Construct } from "constructs";
import type { BakerFile } from "../../contract/baker-file";
import { mounts } from "../../contract/env";
import { headlessServiceName, labels, podName, statefulSetName, type Topology } from "../../contract/names";
import { ports } from "../../contract/ports";
import type { BakerConfiguration, Configuration } from "../../configuration/schema";
import { secretReference } from "../variables";
import { mountClaim, type PodContainer, podSecurity } from "../containers/container";
import { topologyGuard } from "../containers/daemons";
import {
  accuser,
  authenticationKeyFile,
  configureNode,
  dalNode,
  importKeys,
  importSnapshot,
  podScripts,
} from "../containers/octez";
import { type Component, objectLabels, pin, selectorLabels } from "../element";
import type { Images } from "../images";
import { signingKeys } from "../signer/baker-signers";
import { bakerFile, restartChecksum } from "./baker-file";
import { BakerNetworkPolicies } from "./baker-network-policies";
import { BakerRole } from "./baker-role";
import { DalServices } from "./dal-services";
import type { BakerStorage } from "./zonal-storage";
import { Watermarks } from "./watermarks";

export interface BakerProps {
  readonly name: string;
  readonly settings: BakerConfiguration;
  readonly configuration: Configuration;
  readonly images: Images;
  readonly storage: BakerStorage;
  /** Whose pods hold the keys. */
  readonly signer: Component;
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
  readonly containers: readonly PodContainer[];
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

  protected constructor(scope: Construct, id: string, props: BakerProps, parts: TopologyParts) {
    super(scope, id);
    const { name, settings, configuration, images } = props;
    const { namespace } = configuration;
    const { topology } = parts;
    this.statefulSetName = statefulSetName(name, topology);
    this.serviceName = headlessServiceName(name, topology);
    this.file = bakerFile({ ...parts, baker: name, settings, configuration });

    const selector = { ...selectorLabels(name, "baking-pod"), [labels.topology]: topology };
    const podLabels = objectLabels({ ...selector, [labels.name]: this.statefulSetName });
    const metadata = (objectName: string) => ({
      name: objectName,
      namespace,
      labels: objectLabels({ [labels.baker]: name, [labels.topology]: topology }),
    });
    const podNames = Array.from({ length: parts.members }, (_, i) => podName(name, topology, i));

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
      exchange: parts.nonceSecretName !== undefined,
      monitoringNamespaces: props.monitoringNamespaces,
    });
    const config = pin(
      new ConfigMapV1(this, "config", {
        metadata: metadata(this.statefulSetName),
        data: { [configKey]: JSON.stringify(this.file, null, 2), ...podScripts() },
      }),
      this.statefulSetName,
    );
    const authentication =
      settings.authentication_key === undefined
        ? undefined
        : pin(
            new SecretV1(this, "authentication", {
              metadata: { ...metadata(`${name}-authentication`), labels: objectLabels({ [labels.baker]: name }) },
              data: { [authenticationKeyFile]: secretReference("authentication_keys", name) },
            }),
            name,
            "authentication",
          );
    const service = pin(
      new ServiceV1(this, "service", {
        metadata: metadata(this.serviceName),
        spec: {
          clusterIp: "None",
          selector,
          // An unready member still gives and takes nonces.
          publishNotReadyAddresses: true,
          port: [{ name: "p2p", port: ports.octezP2p, targetPort: String(ports.octezP2p), protocol: "TCP" }],
        },
      }),
      this.statefulSetName,
    );
    pin(
      new PodDisruptionBudgetV1(this, "budget", {
        metadata: metadata(this.statefulSetName),
        spec: { maxUnavailable: "1", selector: { matchLabels: selector } },
      }),
      this.statefulSetName,
    );
    const dal = settings.dal.enabled
      ? new DalServices(this, "dal", {
          namespace,
          baker: name,
          settings,
          podNames,
          google: configuration.cluster === undefined,
        })
      : undefined;

    const volumes: StatefulSetV1SpecTemplateSpecVolume[] = [
      { name: "config", configMap: { name: this.statefulSetName, defaultMode: "0444" } },
      { name: "tmp", emptyDir: { sizeLimit: "256Mi" } },
      {
        name: "kube",
        projected: [
          {
            defaultMode: "0440",
            sources: [
              { serviceAccountToken: { path: "token", expirationSeconds: 3600 } },
              { configMap: [{ name: "kube-root-ca.crt", items: [{ key: "ca.crt", path: "ca.crt" }] }] },
              { downwardApi: { items: [{ path: "namespace", fieldRef: { fieldPath: "metadata.namespace" } }] } },
            ],
          },
        ],
      },
      ...(parts.nonceSecretName === undefined
        ? []
        : [{ name: "secrets", secret: { secretName: parts.nonceSecretName, defaultMode: "0440" } }]),
      ...(authentication
        ? [{ name: "authentication", secret: { secretName: `${name}-authentication`, defaultMode: "0440" } }]
        : []),
    ];

    const dependsOn: ITerraformDependable[] = [
      config,
      service,
      role.binding,
      ...(authentication ? [authentication] : []),
    ];
    pin(
      new StatefulSetV1(this, "stateful-set", {
        metadata: metadata(this.statefulSetName),
        // A node synchronizes for hours.
        waitForRollout: false,
        spec: {
          serviceName: this.serviceName,
          replicas: String(parts.members),
          podManagementPolicy: "Parallel",
          minReadySeconds: 10,
          revisionHistoryLimit: 10,
          updateStrategy: [{ type: "RollingUpdate", rollingUpdate: [{ partition: 0 }] }],
          persistentVolumeClaimRetentionPolicy: [{ whenDeleted: "Retain", whenScaled: "Retain" }],
          selector: { matchLabels: selector },
          template: {
            metadata: { labels: podLabels, annotations: { "tezos-on-gke/config": restartChecksum(this.file) } },
            spec: {
              serviceAccountName: role.serviceAccountName,
              automountServiceAccountToken: false,
              enableServiceLinks: false,
              terminationGracePeriodSeconds: 120,
              securityContext: podSecurity,
              ...(props.nodeSelector ? { nodeSelector: { ...props.nodeSelector } } : {}),
              ...(parts.spreadOverZones
                ? {
                    topologySpreadConstraint: [
                      {
                        maxSkew: 1,
                        topologyKey: labels.zone,
                        whenUnsatisfiable: "DoNotSchedule",
                        labelSelector: [{ matchLabels: selector }],
                      },
                    ],
                  }
                : {}),
              initContainer: [
                topologyGuard({ image: images.runtime }),
                configureNode({
                  image: images.octez,
                  network: configuration.network,
                  historyMode: configuration.history_mode,
                  privatePeers: settings.private_peers,
                }),
                importSnapshot({
                  image: images.octez,
                  network: configuration.network,
                  historyMode: configuration.history_mode,
                  url: configuration.snapshot.url,
                  blockHash: configuration.snapshot.block_hash,
                }),
                importKeys({
                  image: images.octez,
                  keys: signingKeys(settings),
                  authenticationKey: settings.authentication_key,
                }),
              ].map((container) => mountClaim(container, props.storage.claimName)),
              container: [
                ...parts.containers,
                ...(dal
                  ? [
                      dalNode({
                        image: images.octez,
                        attester: settings.delegate,
                        publicAddresses: dal.publicAddresses,
                      }),
                    ]
                  : []),
                ...(settings.accuser ? [accuser({ image: images.octez })] : []),
              ].map((container) => mountClaim(container, props.storage.claimName)),
              volume: volumes,
            },
          },
          volumeClaimTemplate: [
            {
              metadata: { name: props.storage.claimName, labels: objectLabels(selector) },
              spec: {
                accessModes: ["ReadWriteOnce"],
                storageClassName: props.storage.storageClassName,
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
