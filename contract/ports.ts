/** Every port of a baking pod, and those outside of them; from the table of containers. */
import { signerContainers } from "./containers";

export { ports } from "./containers";

export const signerPorts = {
  /** sshd in a tunnel pod (unprivileged). */
  sshd: signerContainers.sshd.listens.sshd.port,
  /** The signer as seen inside the tunnel pod and through its ClusterIP service. */
  signer: signerContainers.sshd.listens.signer.port,
  /** Health of Signatory. */
  health: signerContainers.signatory.listens.health.port,
} as const;
