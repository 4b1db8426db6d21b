/** The pod of a baker: its containers, its volumes, and where it may run. Pure. */
import type {
  StatefulSetV1SpecTemplateSpec,
  StatefulSetV1SpecTemplateSpecVolume,
} from "@cdktf/provider-kubernetes/lib/stateful-set-v1";
import { labels } from "../../contract/names";
import { mountClaim, type PodContainer, podSecurity } from "../containers/container";
import { topologyGuard } from "../containers/daemons";
import { accuser, configureNode, dalNode, importKeys, importSnapshot } from "../containers/octez";
import { signingKeys } from "../signer/baker-signers";
import type { BakerProps, TopologyParts } from "./baker";

export const authenticationSecretName = (baker: string): string => `${baker}-authentication`;

export interface BakingPodProps extends BakerProps, TopologyParts {
  /** Also the name of the ConfigMap with the baker's file. */
  readonly statefulSetName: string;
  readonly serviceAccountName: string;
  readonly selector: Readonly<Record<string, string>>;
  /** Pod name -> HOST:PORT of its DAL node. @default no DAL node */
  readonly dalAddresses?: Readonly<Record<string, string>>;
}

export function bakingPodSpec(props: BakingPodProps): StatefulSetV1SpecTemplateSpec {
  const disk = (container: PodContainer) => mountClaim(container, props.storage.claimName);
  return {
    serviceAccountName: props.serviceAccountName,
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    terminationGracePeriodSeconds: 120,
    securityContext: podSecurity,
    ...(props.nodeSelector ? { nodeSelector: { ...props.nodeSelector } } : {}),
    ...(props.spreadOverZones
      ? {
          topologySpreadConstraint: [
            {
              maxSkew: 1,
              topologyKey: labels.zone,
              whenUnsatisfiable: "DoNotSchedule",
              labelSelector: [{ matchLabels: { ...props.selector } }],
            },
          ],
        }
      : {}),
    initContainer: initContainers(props).map(disk),
    container: mainContainers(props).map(disk),
    volume: volumes(props),
  };
}

function initContainers({ images, configuration, settings }: BakingPodProps): PodContainer[] {
  const { network, history_mode: historyMode, snapshot } = configuration;
  return [
    topologyGuard({ image: images.runtime }),
    configureNode({ image: images.octez, network, historyMode, privatePeers: settings.private_peers }),
    importSnapshot({
      image: images.octez,
      network,
      historyMode,
      url: snapshot.url,
      blockHash: snapshot.block_hash,
    }),
    importKeys({
      image: images.octez,
      keys: signingKeys(settings),
      authenticationKey: settings.authentication_key,
    }),
  ];
}

function mainContainers({ images, settings, containers, dalAddresses }: BakingPodProps): PodContainer[] {
  return [
    ...containers,
    ...(dalAddresses
      ? [dalNode({ image: images.octez, attester: settings.delegate, publicAddresses: dalAddresses })]
      : []),
    ...(settings.accuser ? [accuser({ image: images.octez })] : []),
  ];
}

function volumes(props: BakingPodProps): StatefulSetV1SpecTemplateSpecVolume[] {
  const secret = (name: string, secretName: string): StatefulSetV1SpecTemplateSpecVolume => ({
    name,
    secret: { secretName, defaultMode: "0440" },
  });
  return [
    { name: "config", configMap: { name: props.statefulSetName, defaultMode: "0444" } },
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
    ...(props.nonceSecretName === undefined ? [] : [secret("secrets", props.nonceSecretName)]),
    ...(props.settings.authentication_key === undefined
      ? []
      : [secret("authentication", authenticationSecretName(props.name))]),
  ];
}
