/** The tunnels of one remote signer: an sshd pod per zone, a service for each, and one for whichever is up. */
import { createHash } from "node:crypto";
import { ConfigMapV1 } from "@cdktf/provider-kubernetes/lib/config-map-v1";
import {
  DeploymentV1,
  type DeploymentV1SpecTemplateSpec,
  type DeploymentV1SpecTemplateSpecContainer,
} from "@cdktf/provider-kubernetes/lib/deployment-v1";
import { ServiceV1 } from "@cdktf/provider-kubernetes/lib/service-v1";
import { Construct } from "constructs";
import { labels, partOf, signerServiceName } from "../../contract/names";
import { signerPorts } from "../../contract/ports";
import { authorizedKey, sshdConfig, tunnelPort } from "../../contract/signer-link";
import type { BakerConfiguration, Configuration } from "../../configuration/schema";
import { containerSecurity, podSecurity, resources } from "../containers/container";
import { objectLabels, pin, selectorLabels } from "../element";
import type { ChartObject } from "../object-release";
import type { Tunnel } from "./baker-signers";

export const hostKeyFile = "ssh_host_ed25519_key";
const paths = { hostKey: "/etc/tezos-on-gke/host-key", sshd: "/etc/tezos-on-gke/sshd" } as const;
const signerLabel = "tezos-on-gke/signer";
const zoneLabel = "tezos-on-gke/zone";
/**
 * Name of a tunnel's port, and the target by which the load balancer finds the one pod that has it. At most 15
 * characters.
 */
export const portName = (port: number): string => `ssh-${port}`;

export interface RemoteSigner {
  readonly baker: string;
  readonly settings: BakerConfiguration;
  readonly signer: string;
  readonly link: Tunnel;
}

/** One sshd pod; one without a zone where none are configured. */
interface ZoneTunnel {
  readonly zone: string | undefined;
  /** External port. */
  readonly port: number;
}
export const tunnelsOf = (link: Tunnel, zones: readonly string[]): ZoneTunnel[] =>
  (zones.length > 0 ? zones : [undefined]).map((zone, index) => ({ zone, port: tunnelPort(link.port, index) }));

export interface SignerTunnelsProps extends RemoteSigner {
  readonly configuration: Configuration;
  readonly image: string;
  readonly hostKeySecret: string;
}

export class SignerTunnels extends Construct {
  private readonly selector: Readonly<Record<string, string>>;

  constructor(
    scope: Construct,
    id: string,
    private readonly props: SignerTunnelsProps,
  ) {
    super(scope, id);
    const { baker, signer, link, configuration } = props;
    const name = signerServiceName(baker, signer);
    this.selector = { ...selectorLabels(baker, "signer-link"), [signerLabel]: signer };
    const data = {
      authorized_keys: authorizedKey(link.ssh_public_key),
      sshd_config: sshdConfig({
        hostKeyFile: `${paths.hostKey}/${hostKeyFile}`,
        authorizedKeysFile: `${paths.sshd}/authorized_keys`,
      }),
    };
    const config = pin(new ConfigMapV1(this, "sshd", { metadata: this.metadata(name), data }), ...this.words());
    this.service(undefined);
    // sshd reads its files at start; a rotated key must not wait for somebody to delete a pod.
    const checksum = createHash("sha256").update(JSON.stringify(data)).digest("hex");
    for (const tunnel of tunnelsOf(link, configuration.zones)) {
      if (tunnel.zone !== undefined) this.service(tunnel.zone);
      this.deployment(tunnel, checksum, config);
    }
  }

  /**
   * A drain takes one tunnel at a time, and any that is down: its pod does nothing that an eviction could end. What
   * manages the object, Helm adds itself.
   */
  get budget(): ChartObject {
    const { baker, signer, configuration } = this.props;
    return {
      apiVersion: "policy/v1",
      kind: "PodDisruptionBudget",
      metadata: {
        ...{ name: `${signerServiceName(baker, signer)}-tunnels`, namespace: configuration.namespace },
        labels: { [labels.partOf]: partOf, [labels.baker]: baker },
      },
      spec: {
        ...{ maxUnavailable: 1, selector: { matchLabels: this.selector } },
        unhealthyPodEvictionPolicy: "AlwaysAllow",
      },
    };
  }

  private metadata(name: string) {
    const { baker, configuration } = this.props;
    return { name, namespace: configuration.namespace, labels: objectLabels({ [labels.baker]: baker }) };
  }

  /** Words of the objects' addresses in Terraform's state. */
  private words(zone?: string): string[] {
    return [this.props.baker, "signer", this.props.signer, ...(zone === undefined ? [] : [zone])];
  }

  private labelsOf(zone: string | undefined): Record<string, string> {
    return { ...this.selector, ...(zone === undefined ? {} : { [zoneLabel]: zone }) };
  }

  private service(zone: string | undefined): void {
    const name = signerServiceName(this.props.baker, this.props.signer, zone);
    if (name.length > 63)
      this.node.addValidation({
        validate: () => [
          `the service name ${name} must have at most 63 characters, got ${name.length}: shorten the signer's or the baker's name`,
        ],
      });
    pin(
      new ServiceV1(this, `service-${zone ?? "any"}`, {
        metadata: this.metadata(name),
        spec: {
          selector: this.labelsOf(zone),
          port: [{ name: "signer", port: signerPorts.signer, targetPort: String(signerPorts.signer), protocol: "TCP" }],
        },
      }),
      ...this.words(zone),
    );
  }

  private deployment(tunnel: ZoneTunnel, checksum: string, config: ConfigMapV1): void {
    const { baker, signer } = this.props;
    const podLabels = this.labelsOf(tunnel.zone);
    pin(
      new DeploymentV1(this, `sshd-${tunnel.zone ?? "any"}`, {
        metadata: this.metadata(signerServiceName(baker, signer, tunnel.zone)),
        // Ready only when the operator's tunnel is up.
        waitForRollout: false,
        dependsOn: [config],
        spec: {
          replicas: "1",
          // Two pods on one port would share the connections of one tunnel.
          strategy: { type: "Recreate" },
          selector: { matchLabels: podLabels },
          template: {
            metadata: { labels: objectLabels(podLabels), annotations: { "tezos-on-gke/config": checksum } },
            spec: this.pod(tunnel),
          },
        },
      }),
      ...this.words(tunnel.zone),
    );
  }

  private pod({ zone, port }: ZoneTunnel): DeploymentV1SpecTemplateSpec {
    const { baker, signer, image, hostKeySecret, link } = this.props;
    return {
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      terminationGracePeriodSeconds: 5,
      securityContext: podSecurity,
      ...(zone === undefined ? {} : { nodeSelector: { [labels.zone]: zone } }),
      container: [sshd(image, port, link.protocol)],
      volume: [
        {
          name: "host-key",
          secret: {
            secretName: hostKeySecret,
            defaultMode: "0440",
            items: [{ key: hostKeyFile, path: hostKeyFile }],
          },
        },
        { name: "sshd", configMap: { name: signerServiceName(baker, signer), defaultMode: "0444" } },
        { name: "tmp", emptyDir: { sizeLimit: "16Mi" } },
      ],
    };
  }
}

/** A line of /proc/net/tcp: something listens on the signer's port. */
const listening = `:${signerPorts.signer.toString(16).toUpperCase()} 00000000:0000 0A `;

const sshd = (image: string, port: number, protocol: Tunnel["protocol"]): DeploymentV1SpecTemplateSpecContainer => ({
  name: "sshd",
  image,
  imagePullPolicy: "IfNotPresent",
  // sshd re-executes itself and wants its absolute path.
  command: ["/usr/sbin/sshd", "-D", "-e", "-f", `${paths.sshd}/sshd_config`],
  securityContext: containerSecurity,
  resources: resources({ cpu: "10m", memory: "16Mi" }, { cpu: "250m", memory: "64Mi" }),
  port: [{ name: portName(port), containerPort: signerPorts.sshd, protocol: "TCP" }],
  volumeMount: [
    { name: "host-key", mountPath: paths.hostKey, readOnly: true },
    { name: "sshd", mountPath: paths.sshd, readOnly: true },
    { name: "tmp", mountPath: "/tmp" },
  ],
  livenessProbe: {
    tcpSocket: [{ port: String(signerPorts.sshd) }],
    periodSeconds: 10,
    failureThreshold: 3,
    timeoutSeconds: 3,
  },
  readinessProbe: {
    // Through the tunnel: the signer itself answers. Over TCP the probe of each tunnel would take one of the few
    // connections that the signer has, so it sees only that the tunnel stands; the gate asks the signer.
    ...(protocol === "http"
      ? { httpGet: { port: String(signerPorts.signer), path: "/authorized_keys" } }
      : { exec: { command: ["grep", "-q", listening, "/proc/net/tcp"] } }),
    periodSeconds: 3,
    failureThreshold: 2,
    timeoutSeconds: 2,
  },
});
