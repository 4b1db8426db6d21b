/**
 * A key in Google Cloud KMS, used through Signatory in the cluster; one baking node only, because KMS keeps no
 * watermark.
 */
import { createHash } from "node:crypto";
import { ConfigMapV1 } from "@cdktf/provider-kubernetes/lib/config-map-v1";
import { ServiceAccountV1 } from "@cdktf/provider-kubernetes/lib/service-account-v1";
import { Construct } from "constructs";
import { stringify } from "yaml";
import { labels, signerServiceName } from "../../contract/names";
import { signerPorts } from "../../contract/ports";
import { containerSecurity, resources } from "../containers/container";
import { objectLabels, pin, selectorLabels } from "../element";
import { dnsPorts, internet, nameServers, NetworkFlow, type Peer, type Port, range, tcp } from "../network-policy";
import { cloudSignerName, type SigningKey } from "./baker-signers";
import { InClusterSigner, type InClusterSignerProps } from "./in-cluster-signer";

export interface CloudSignerProps {
  readonly namespace: string;
  readonly baker: string;
  readonly keys: readonly SigningKey[];
  readonly image: string;
  /** projects/P/locations/L/keyRings/R/cryptoKeys/K/cryptoKeyVersions/V */
  readonly keyVersion: string;
  /** E-mail of the Google service account that may sign with it. */
  readonly googleServiceAccount: string;
}

/**
 * Two tries at Google's KMS end before octez-baker stops waiting, and before a gate would. A signature of a try that
 * was given up never leaves Google.
 */
export const kmsTimeoutSeconds = 1;
export const kmsRetries = 1;

/** Signatory's configuration: one vault, each key with the requests that it may sign. */
const signatoryConfig = (props: CloudSignerProps): string => {
  const [, project = "", , location = "", , keyRing = ""] = props.keyVersion.split("/");
  return stringify({
    server: { address: `:${signerPorts.signer}`, utility_address: `:${signerPorts.health}` },
    base_dir: "/var/signatory",
    vaults: {
      kms: {
        driver: "cloudkms",
        config: { project, location, key_ring: keyRing, timeout: kmsTimeoutSeconds, max_retries: kmsRetries },
      },
    },
    tezos: Object.fromEntries(
      props.keys.map(({ address }) => [
        address,
        {
          log_payloads: false,
          allow: { block: null, attestation: null, preattestation: null, attestation_with_dal: null },
        },
      ]),
    ),
  });
};

export class CloudSigner extends Construct {
  constructor(
    scope: Construct,
    id: string,
    private readonly props: CloudSignerProps,
  ) {
    super(scope, id);
    const { namespace, baker } = props;
    const name = signerServiceName(baker, cloudSignerName);
    const metadata = { name, namespace, labels: objectLabels({ [labels.baker]: baker }) };
    const data = { "signatory.yaml": signatoryConfig(props) };
    const config = pin(new ConfigMapV1(this, "config", { metadata, data }), baker, "cloud");
    const account = pin(
      new ServiceAccountV1(this, "account", {
        metadata: { ...metadata, annotations: { "iam.gke.io/gcp-service-account": props.googleServiceAccount } },
        automountServiceAccountToken: false,
      }),
      baker,
      "cloud",
    );
    new InClusterSigner(this, "signer", {
      namespace,
      baker,
      signer: cloudSignerName,
      component: "cloud-signer",
      serviceAccountName: name,
      checksum: createHash("sha256").update(JSON.stringify(data)).digest("hex"),
      dependsOn: [config, account],
      container: signatory(props.image, props.keys[0]?.address ?? ""),
      volumes: [
        { name: "config", configMap: { name, defaultMode: "0444" } },
        { name: "state", emptyDir: { sizeLimit: "64Mi" } },
      ],
    });
    this.flows(name);
  }

  private flows(name: string): void {
    const { namespace, baker } = this.props;
    const out = (flow: string, purpose: string, to: readonly Peer[], ports: readonly Port[]): void => {
      new NetworkFlow(this, flow, {
        namespace,
        name: `${name}-${flow}`,
        purpose,
        selector: selectorLabels(baker, "cloud-signer"),
        egress: { to, ports },
      });
    };
    out("google", "Google's KMS over HTTPS.", [internet, range("199.36.153.4/30")], tcp(443));
    out(
      "identity",
      "Workload identity: GKE's metadata server, on its address and on the node's port that stands for it.",
      [range("169.254.169.252/32"), range("169.254.169.254/32")],
      tcp(80, 988),
    );
    out("dns", "Names of Google's services.", nameServers, dnsPorts);
  }
}

const signatory = (image: string, address: string): InClusterSignerProps["container"] => ({
  name: "signatory",
  image,
  imagePullPolicy: "IfNotPresent",
  args: ["serve", "-c", "/etc/signatory/signatory.yaml"],
  securityContext: containerSecurity,
  resources: resources({ cpu: "50m", memory: "64Mi" }, { cpu: "1", memory: "256Mi" }),
  port: [{ name: "signer", containerPort: signerPorts.signer, protocol: "TCP" }],
  volumeMount: [
    { name: "config", mountPath: "/etc/signatory", readOnly: true },
    { name: "state", mountPath: "/var/signatory" },
  ],
  // Its /healthz tells readiness, and is unready while it ends: no reason to kill it.
  livenessProbe: {
    httpGet: { port: String(signerPorts.signer), path: "/authorized_keys" },
    periodSeconds: 10,
    failureThreshold: 3,
    timeoutSeconds: 3,
  },
  // It has read this key from Google: the version, the rights and the network are right.
  readinessProbe: {
    httpGet: { port: String(signerPorts.signer), path: `/keys/${address}` },
    periodSeconds: 5,
    failureThreshold: 2,
    timeoutSeconds: 3,
  },
});
