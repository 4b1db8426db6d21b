/**
 * The signer link: one sshd pod per signer and zone, all behind one load balancer with a port each. The signer host at
 * home keeps a reverse tunnel to every one of them; inside, a tunnel's pod is ready only while the signer answers
 * through it. A signer's new public key touches its own ConfigMap and tunnels; a new signer adds objects and a port of
 * the load balancer. A new host key reaches sshd when its pods restart: one zone after the other by hand, because every
 * signer host must learn it first.
 */
import { createHash } from "node:crypto";
import { ConfigMapV1 } from "@cdktf/provider-kubernetes/lib/config-map-v1";
import { DeploymentV1 } from "@cdktf/provider-kubernetes/lib/deployment-v1";
import { PodDisruptionBudgetV1 } from "@cdktf/provider-kubernetes/lib/pod-disruption-budget-v1";
import { SecretV1 } from "@cdktf/provider-kubernetes/lib/secret-v1";
import { ServiceV1 } from "@cdktf/provider-kubernetes/lib/service-v1";
import { Construct } from "constructs";
import { labels, signerServiceName } from "../../contract/names";
import { signerPorts } from "../../contract/ports";
import {
  authorizedKey,
  type SignerLinkOutput,
  signerLinkUser,
  sshdConfig,
  tunnelPort,
} from "../../contract/signer-link";
import type { ClusterAccess } from "../cluster-access";
import type { BakerConfiguration, Configuration, SignerConfiguration } from "../../configuration/schema";
import { secretReference } from "../variables";
import { containerSecurity, podSecurity, resources } from "../containers/container";
import { objectLabels, pin, selectorLabels } from "../element";
import { anywhere, NetworkFlow, pods, tcp } from "../network-policy";
import { signingKeys } from "./baker-signers";

const hostKeyFile = "ssh_host_ed25519_key";
const paths = { hostKey: "/etc/tezos-on-gke/host-key", sshd: "/etc/tezos-on-gke/sshd" } as const;
const signerLabel = "tezos-on-gke/signer";
const linkName = "signer-link";
/**
 * Name of a tunnel's port, and the target by which the load balancer finds the one pod that has it. At most 15
 * characters.
 */
const portName = (port: number): string => `ssh-${port}`;

export interface RemoteSigner {
  readonly baker: string;
  readonly settings: BakerConfiguration;
  readonly signer: string;
  readonly link: SignerConfiguration;
}

/** Zone and external port of each tunnel; one without a zone where none are configured. */
const tunnelsOf = (link: SignerConfiguration, zones: readonly string[]): { zone: string | undefined; port: number }[] =>
  (zones.length > 0 ? zones : [undefined]).map((zone, index) => ({ zone, port: tunnelPort(link.port, index) }));

interface TunnelsProps extends RemoteSigner {
  readonly configuration: Configuration;
  readonly image: string;
  readonly hostKeySecret: string;
}

/** The tunnels of one signer. */
class SignerTunnels extends Construct {
  constructor(scope: Construct, id: string, props: TunnelsProps) {
    super(scope, id);
    const { baker, signer, link, configuration } = props;
    const { namespace } = configuration;
    const name = signerServiceName(baker, signer);
    const selector = { ...selectorLabels(baker, "signer-link"), [signerLabel]: signer };
    const metadata = (objectName: string) => ({
      name: objectName,
      namespace,
      labels: objectLabels({ [labels.baker]: baker }),
    });
    const data = {
      authorized_keys: authorizedKey(link.ssh_public_key),
      sshd_config: sshdConfig({
        hostKeyFile: `${paths.hostKey}/${hostKeyFile}`,
        authorizedKeysFile: `${paths.sshd}/authorized_keys`,
      }),
    };
    const config = pin(new ConfigMapV1(this, "sshd", { metadata: metadata(name), data }), baker, "signer", signer);
    const service = (objectName: string, zone: string | undefined): void => {
      if (objectName.length > 63)
        this.node.addValidation({
          validate: () => [
            `the service name ${objectName} must have at most 63 characters, got ${objectName.length}: shorten the signer's or the baker's name`,
          ],
        });
      pin(
        new ServiceV1(this, `service-${zone ?? "any"}`, {
          metadata: metadata(objectName),
          spec: {
            selector: { ...selector, ...(zone === undefined ? {} : { [zoneLabel]: zone }) },
            port: [
              { name: "signer", port: signerPorts.signer, targetPort: String(signerPorts.signer), protocol: "TCP" },
            ],
          },
        }),
        ...[baker, "signer", signer, ...(zone === undefined ? [] : [zone])],
      );
    };
    service(name, undefined);
    pin(
      new PodDisruptionBudgetV1(this, "budget", {
        metadata: metadata(name),
        spec: { maxUnavailable: "1", selector: { matchLabels: selector } },
      }),
      ...[baker, "signer", signer],
    );

    for (const { zone, port } of tunnelsOf(link, configuration.zones)) {
      const workload = signerServiceName(baker, signer, zone);
      if (zone !== undefined) service(workload, zone);
      const podLabels = { ...selector, ...(zone === undefined ? {} : { [zoneLabel]: zone }) };
      pin(
        new DeploymentV1(this, `sshd-${zone ?? "any"}`, {
          metadata: metadata(workload),
          // Ready only when the operator's tunnel is up.
          waitForRollout: false,
          dependsOn: [config],
          spec: {
            replicas: "1",
            // Two pods on one port would share the connections of one tunnel.
            strategy: { type: "Recreate" },
            selector: { matchLabels: podLabels },
            template: {
              metadata: {
                labels: objectLabels(podLabels),
                // sshd reads its files at start; a rotated key must not wait for somebody to delete a pod.
                annotations: { "tezos-on-gke/config": createHash("sha256").update(JSON.stringify(data)).digest("hex") },
              },
              spec: {
                automountServiceAccountToken: false,
                enableServiceLinks: false,
                terminationGracePeriodSeconds: 5,
                securityContext: podSecurity,
                ...(zone === undefined ? {} : { nodeSelector: { [labels.zone]: zone } }),
                container: [
                  {
                    name: "sshd",
                    image: props.image,
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
                    // Through the tunnel: the signer itself answers.
                    readinessProbe: {
                      httpGet: { port: String(signerPorts.signer), path: "/authorized_keys" },
                      periodSeconds: 3,
                      failureThreshold: 2,
                      timeoutSeconds: 2,
                    },
                  },
                ],
                volume: [
                  {
                    name: "host-key",
                    secret: {
                      secretName: props.hostKeySecret,
                      defaultMode: "0440",
                      items: [{ key: hostKeyFile, path: hostKeyFile }],
                    },
                  },
                  { name: "sshd", configMap: { name, defaultMode: "0444" } },
                  { name: "tmp", emptyDir: { sizeLimit: "16Mi" } },
                ],
              },
            },
          },
        }),
        ...[baker, "signer", signer, ...(zone === undefined ? [] : [zone])],
      );
    }
  }
}
const zoneLabel = "tezos-on-gke/zone";

export interface RemoteSignerLinkProps {
  readonly configuration: Configuration;
  readonly signers: readonly RemoteSigner[];
  readonly image: string;
  readonly access: ClusterAccess;
}

export class RemoteSignerLink extends Construct {
  readonly links: SignerLinkOutput[];
  /** Address of the load balancer, "" while it has none. */
  readonly host: string;

  constructor(scope: Construct, id: string, props: RemoteSignerLinkProps) {
    super(scope, id);
    const { configuration, signers, access } = props;
    const { namespace, zones, signer_link } = configuration;
    const hostKeySecret = signer_link.host_key_secret ?? `${linkName}-host-key`;
    if (signer_link.host_key_secret === undefined)
      pin(
        new SecretV1(this, "host-key", {
          metadata: { name: hostKeySecret, namespace, labels: objectLabels() },
          data: { [hostKeyFile]: secretReference("signer_link_host_key") },
        }),
        "signer_link_host_key",
      );
    for (const signer of signers) {
      new SignerTunnels(this, `${signer.baker}_${signer.signer}`, {
        ...signer,
        configuration,
        image: props.image,
        hostKeySecret,
      });
    }

    const tunnels = signers.flatMap(({ link }) => tunnelsOf(link, zones));
    const balancer = pin(
      new ServiceV1(this, "load-balancer", {
        metadata: {
          name: linkName,
          namespace,
          labels: objectLabels(),
          annotations: { "cloud.google.com/l4-rbs": "enabled" },
        },
        // Its address is reserved before; a cluster without a load balancer must not stop the apply.
        waitForLoadBalancer: false,
        spec: {
          type: "LoadBalancer",
          ...(access.signerLinkAddress === undefined ? {} : { loadBalancerIp: access.signerLinkAddress }),
          ...(signer_link.source_ranges.length > 0 ? { loadBalancerSourceRanges: [...signer_link.source_ranges] } : {}),
          // A tunnel that is down must be able to come back.
          publishNotReadyAddresses: true,
          selector: { [labels.component]: "signer-link" },
          port: tunnels.map(({ port }) => ({
            name: portName(port),
            port,
            targetPort: portName(port),
            protocol: "TCP",
          })),
        },
      }),
      "signer_link",
    );

    for (const baker of new Set(signers.map((signer) => signer.baker))) {
      const selector = selectorLabels(baker, "signer-link");
      const flow = (
        name: string,
        purpose: string,
        from: Parameters<typeof pods>[0] | undefined,
        port: number,
      ): void => {
        new NetworkFlow(this, `${baker}-${name}`, {
          namespace,
          name: `${baker}-${name}`,
          purpose,
          selector,
          ingress: { from: [from ? pods(from) : anywhere], ports: tcp(port) },
        });
      };
      flow(
        "signer-link-in",
        "Tunnels of the signer hosts. The load balancer hides their addresses; source ranges are its firewall's.",
        undefined,
        signerPorts.sshd,
      );
      flow(
        "signer-link-use",
        "Signing requests of this baker's own pods.",
        selectorLabels(baker, "baking-pod"),
        signerPorts.signer,
      );
    }

    const ingress = `${balancer.fqn}.status[0].load_balancer[0].ingress[0]`;
    this.host = access.signerLinkAddress ?? `\${try(coalesce(${ingress}.ip, ${ingress}.hostname), "")}`;
    this.links = signers.map(({ baker, settings, signer, link }) => ({
      baker,
      signer,
      host: this.host,
      host_key: signer_link.host_public_key ?? "",
      user: signerLinkUser,
      listen: `0.0.0.0:${signerPorts.signer}`,
      tunnels: tunnelsOf(link, zones).map(({ zone, port }) => ({ zone: zone ?? "any", port })),
      addresses: signingKeys(settings).map(({ address }) => address),
      authentication_key: settings.authentication_key ?? "",
    }));
  }
}
