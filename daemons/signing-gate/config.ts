/** Where the gate listens, whom it asks and what it keeps, from the pod's environment and the baker's file. */
import { join } from "node:path";
import { ports } from "../../contract/ports";
import { podOrdinal } from "../../contract/names";
import type { BakerFile } from "../../contract/baker-file";
import type { DaemonConfig } from "../runtime/config";
import type { GateKey } from "./gate-options";

/** A key is deterministic where every one of its signers is. */
export function gateKeys({ keys, signers }: Pick<BakerFile, "keys" | "signers">): GateKey[] {
  const deterministic = new Map(signers.map((signer) => [signer.name, signer.deterministic]));
  return keys.map((key) => ({
    address: key.address,
    deterministic: key.signers.every((name) => deterministic.get(name) === true),
  }));
}

export function gateConfig({ env, file, identity }: DaemonConfig) {
  return {
    identity,
    pod: env.TOG_POD_NAME,
    uid: env.TOG_POD_UID,
    ordinal: podOrdinal(env.TOG_POD_NAME),
    zone: env.TOG_ZONE,
    file,
    configFile: env.TOG_CONFIG_FILE,
    listen: { host: env.TOG_LOCAL_ADDRESS, port: ports.gate },
    health: { host: env.TOG_POD_ADDRESS, port: ports.gateHealth },
    elector: `http://${env.TOG_POD_ADDRESS}:${ports.elector}`,
    rpc: `http://${env.TOG_LOCAL_ADDRESS}:${ports.octezRpc}`,
    kube: { url: env.TOG_KUBE_URL, kubeDir: env.TOG_KUBE_DIR, namespace: env.TOG_NAMESPACE },
    stateDir: join(env.TOG_STATE_DIR, "gate"),
    keys: gateKeys(file),
  };
}
export type GateConfig = ReturnType<typeof gateConfig>;
