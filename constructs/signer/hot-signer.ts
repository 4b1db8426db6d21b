/**
 * Test networks only: octez-signer in the cluster with the key in a Secret. The key is in this pod alone, never in a baking pod. Its own
 * high watermark lies in memory and is empty after a restart: the gate's (or the baker's own) is what counts.
 */
import { createHash } from "node:crypto";
import { ConfigMapV1 } from "@cdktf/provider-kubernetes/lib/config-map-v1";
import { SecretV1 } from "@cdktf/provider-kubernetes/lib/secret-v1";
import { Construct } from "constructs";
import { labels, signerServiceName } from "../../contract/names";
import { signerPorts } from "../../contract/ports";
import { containerSecurity, resources } from "../containers/container";
import { scripts } from "../containers/octez";
import { secretReference } from "../configuration/variables";
import { objectLabels, pin } from "../element";
import { hotSignerName, type SigningKey } from "./baker-signers";
import { InClusterSigner } from "./in-cluster-signer";

const keysDir = "/etc/tezos-on-gke/keys";
const signerDir = "/var/tezos-signer";
const scriptDir = "/etc/tezos-on-gke/scripts";

export interface HotSignerProps {
  readonly namespace: string;
  readonly baker: string;
  readonly keys: readonly SigningKey[];
  readonly image: string;
}

export class HotSigner extends Construct {
  constructor(scope: Construct, id: string, props: HotSignerProps) {
    super(scope, id);
    const { namespace, baker } = props;
    const name = signerServiceName(baker, hotSignerName);
    const metadata = { name, namespace, labels: objectLabels({ [labels.baker]: baker }) };
    const data = scripts("hot-signer");
    const config = pin(new ConfigMapV1(this, "script", { metadata, data }), baker, "hot");
    const secretName = `${name}-keys`;
    const secret = pin(
      new SecretV1(this, "keys", {
        metadata: { ...metadata, name: secretName },
        // One file per key: its name is the address, its text "unencrypted:edsk...".
        data: Object.fromEntries(props.keys.map(({ address }) => [address, secretReference("hot_keys", baker, address)])),
      }),
      ...[baker, "hot", "keys"],
    );
    new InClusterSigner(this, "signer", {
      namespace,
      baker,
      signer: hotSignerName,
      component: "hot-signer",
      checksum: createHash("sha256")
        .update(JSON.stringify([data, props.keys.map(({ address }) => address)]))
        .digest("hex"),
      dependsOn: [config, secret],
      container: {
        name: "signer",
        image: props.image,
        imagePullPolicy: "IfNotPresent",
        command: ["sh", "-eu", `${scriptDir}/hot-signer.sh`],
        args: [
          keysDir,
          signerDir,
          "launch",
          "http",
          "signer",
          ...["--address", "0.0.0.0", "--port", String(signerPorts.signer)],
          ...["--magic-bytes", "0x11,0x12,0x13", "--check-high-watermark"],
        ],
        env: [{ name: "HOME", value: signerDir }],
        securityContext: containerSecurity,
        resources: resources({ cpu: "50m", memory: "64Mi" }, { cpu: "1", memory: "256Mi" }),
        port: [{ name: "signer", containerPort: signerPorts.signer, protocol: "TCP" }],
        volumeMount: [
          { name: "script", mountPath: scriptDir, readOnly: true },
          { name: "keys", mountPath: keysDir, readOnly: true },
          { name: "signer", mountPath: signerDir },
          { name: "tmp", mountPath: "/tmp" },
        ],
        livenessProbe: answers(6),
        readinessProbe: answers(2),
      },
      volumes: [
        { name: "script", configMap: { name, defaultMode: "0444" } },
        { name: "keys", secret: { secretName, defaultMode: "0440" } },
        { name: "signer", emptyDir: { medium: "Memory", sizeLimit: "16Mi" } },
        { name: "tmp", emptyDir: { sizeLimit: "16Mi" } },
      ],
    });
  }
}

const answers = (failureThreshold: number) => ({
  httpGet: { port: String(signerPorts.signer), path: "/authorized_keys" },
  periodSeconds: 5,
  timeoutSeconds: 3,
  failureThreshold,
});
