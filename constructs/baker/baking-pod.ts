/** The pod of a baker: its containers, its volumes, and where it may run. Pure. */
import type {
  StatefulSetV1SpecTemplateSpec,
  StatefulSetV1SpecTemplateSpecVolume,
} from "@cdktf/provider-kubernetes/lib/stateful-set-v1";
import { type BakingContainer, bakingContainers } from "../../contract/containers";
import { labels, type Topology } from "../../contract/names";
import type { BakerConfiguration } from "../../configuration/schema";
import { mountClaim, type PodContainer, podSecurity } from "../containers/container";
import {
  baker,
  elector,
  nonceExposer,
  nonceImporter,
  sidecar,
  signingGate,
  topologyGuard,
} from "../containers/daemons";
import { accuser, configureNode, dalNode, importKeys, importSnapshot, octezNode } from "../containers/octez";
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
  const made = (init: boolean) =>
    rowsOf(props.topology, props.settings)
      .filter(([, row]) => (row.runs === "init") === init)
      .map(([key, row]) => mountClaim(makers[key](props.images[row.image], props), props.storage.claimName));
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
    initContainer: made(true),
    container: made(false),
    volume: volumes(props),
  };
}

/** How each container of the table is made, of its image. */
const makers: Readonly<Record<BakingContainer, (image: string, props: BakingPodProps) => PodContainer>> = {
  topologyGuard: (image) => topologyGuard({ image }),
  configureNode: (image, { configuration: { network, history_mode }, settings }) =>
    configureNode({ image, network, historyMode: history_mode, privatePeers: settings.private_peers }),
  importSnapshot: (image, { configuration: { network, history_mode, snapshot } }) =>
    importSnapshot({
      image,
      network,
      historyMode: history_mode,
      url: snapshot.url,
      blockHash: snapshot.block_hash,
    }),
  importKeys: (image, { settings }) =>
    importKeys({ image, keys: signingKeys(settings), authenticationKey: settings.authentication_key }),
  octezNode: (image, { gated }) => octezNode({ image, waitForHandover: gated }),
  sidecar: (image, { gated }) => sidecar({ image, waitForHandover: gated }),
  elector: (image) => elector({ image }),
  // Where no gate does, its supervisor marks the watermarks.
  baker: (image, { gated }) => baker({ image, callsApi: !gated }),
  signingGate: (image) => signingGate({ image }),
  nonceExposer: (image) => nonceExposer({ image }),
  nonceImporter: (image) => nonceImporter({ image }),
  dalNode: (image, { settings, dalAddresses }) =>
    dalNode({ image, attester: settings.delegate, publicAddresses: dalAddresses ?? {} }),
  accuser: (image) => accuser({ image }),
};

/** The rows of the table that a baker's pods have. */
export function rowsOf(
  topology: Topology,
  settings: BakerConfiguration,
): [BakingContainer, (typeof bakingContainers)[BakingContainer]][] {
  const runs = {
    init: true,
    always: true,
    "active-standby": topology === "active-standby",
    dal: settings.dal.enabled,
    accuser: settings.accuser,
  };
  return (Object.keys(bakingContainers) as BakingContainer[])
    .map((key): [BakingContainer, (typeof bakingContainers)[BakingContainer]] => [key, bakingContainers[key]])
    .filter(([, row]) => runs[row.runs]);
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
