/** Every port of a baking pod. A daemon listens where this file says, and nowhere else. */
export const ports = {
  /** Remote-signer protocol, on the pod's loopback address (TOG_LOCAL_ADDRESS) only. */
  gate: 6732,
  /** On the pod's address (TOG_POD_ADDRESS): leadership, for reading. */
  elector: 4040,
  /**
   * The elector's, too: preStop calls, which start a handover. No network policy opens it; the node's kubelet reaches
   * it all the same.
   */
  preStop: 4044,
  supervisor: 4041,
  gateHealth: 4042,
  nonceImporter: 4043,
  nonceExposer: 4247,
  sidecar: 31764,
  /** Octez. RPC and the DAL node's RPC are on the pod's loopback address. */
  octezRpc: 8732,
  octezP2p: 9732,
  octezMetrics: 9932,
  dalRpc: 10732,
  dalP2p: 11732,
  dalMetrics: 11733,
} as const;

/** Ports outside of the baking pods. */
export const signerPorts = {
  /** sshd in a tunnel pod (unprivileged). */
  sshd: 2222,
  /** The signer as seen inside the tunnel pod and through its ClusterIP service. */
  signer: 6732,
  /** Health of a tunnel pod. */
  health: 8080,
} as const;
