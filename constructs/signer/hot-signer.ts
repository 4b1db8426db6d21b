/**
 * Test networks only: octez-signer in the cluster with the key in a Secret. The key is in this pod alone, never in a
 * baking pod nor on a command line. Its own high watermark lies in memory and is empty after a restart: the gate's (or
 * the baker's own) is what counts.
 */
import { createHash } from "node:crypto";
import { SecretV1 } from "@cdktf/provider-kubernetes/lib/secret-v1";
import { Construct } from "constructs";
import { togCommand } from "../../contract/images";
import { labels, signerServiceName } from "../../contract/names";
import { signerPorts } from "../../contract/ports";
import { containerSecurity, daemonResources, resources } from "../containers/container";
import { secretReference, writeOnly } from "../variables";
import { objectLabels, pin } from "../element";
import { hotSignerName, type SigningKey } from "./baker-signers";
import { InClusterSigner } from "./in-cluster-signer";

const keysDir = "/etc/tezos-on-gke/keys";
const signerDir = "/var/tezos-signer";

/** In memory: the keys are never on a node's disk. */
const signerFolder = { name: "signer", mountPath: signerDir };

export interface HotSignerProps {
  readonly namespace: string;
  readonly baker: string;
  readonly keys: readonly SigningKey[];
  readonly image: string;
  /** Our own image: it makes octez-signer's files of the keys. */
  readonly runtimeImage: string;
}

export class HotSigner extends Construct {
  constructor(scope: Construct, id: string, props: HotSignerProps) {
    super(scope, id);
    const { namespace, baker } = props;
    const name = signerServiceName(baker, hotSignerName);
    const metadata = { name, namespace, labels: objectLabels({ [labels.baker]: baker }) };
    const secretName = `${name}-keys`;
    const secret = pin(
      new SecretV1(this, "keys", {
        metadata: { ...metadata, name: secretName },
        // One file per key: its name is the address, its text "unencrypted:edsk...".
        ...writeOnly(
          Object.fromEntries(props.keys.map(({ address }) => [address, secretReference("hot_keys", baker, address)])),
          ...props.keys.map(({ address }) => ["hot_keys", baker, address] as const),
        ),
      }),
      ...[baker, "hot", "keys"],
    );
    new InClusterSigner(this, "signer", {
      namespace,
      baker,
      signer: hotSignerName,
      component: "hot-signer",
      checksum: createHash("sha256")
        .update(JSON.stringify(props.keys.map(({ address }) => address)))
        .digest("hex"),
      dependsOn: [secret],
      initContainer: {
        name: "hot-keys",
        image: props.runtimeImage,
        imagePullPolicy: "IfNotPresent",
        command: [...togCommand],
        args: ["hot-keys", keysDir, signerDir],
        securityContext: containerSecurity,
        resources: daemonResources,
        volumeMount: [{ name: "keys", mountPath: keysDir, readOnly: true }, signerFolder],
      },
      container: {
        name: "signer",
        image: props.image,
        imagePullPolicy: "IfNotPresent",
        command: ["octez-signer"],
        args: [
          ...["--base-dir", signerDir, "launch", "http", "signer"],
          ...["--address", "0.0.0.0", "--port", String(signerPorts.signer)],
          ...["--magic-bytes", "0x11,0x12,0x13", "--check-high-watermark"],
          // Asked for when the key is registered.
          ...(props.keys.some(({ address }) => address.startsWith("tz4")) ? ["--allow-to-prove-possession"] : []),
        ],
        env: [{ name: "HOME", value: signerDir }],
        securityContext: containerSecurity,
        resources: resources({ cpu: "50m", memory: "64Mi" }, { cpu: "1", memory: "256Mi" }),
        port: [{ name: "signer", containerPort: signerPorts.signer, protocol: "TCP" }],
        volumeMount: [signerFolder, { name: "tmp", mountPath: "/tmp" }],
        livenessProbe: answers(6),
        readinessProbe: answers(2),
      },
      volumes: [
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
