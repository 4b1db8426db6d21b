/**
 * The laboratory's API: the real one where KUBEBUILDER_ASSETS names the folder of etcd and kube-apiserver (`npm run
 * test:assets`), else the embedded one.
 */
import { readFileSync } from "node:fs";
import type { LabOptions } from "../lab";
import { missingForControlPlane, startControlPlane } from "../../tools/test-assets/control-plane";

/** Each laboratory starts and ends an API server of its own. @throws Error where the folder lacks a program */
export function labApi(): Pick<LabOptions, "controlPlane"> {
  const assets = process.env.KUBEBUILDER_ASSETS;
  if (assets === undefined || assets === "") return {};
  const missing = missingForControlPlane([], assets);
  if (missing !== undefined)
    throw new Error(
      `KUBEBUILDER_ASSETS names a folder with etcd and kube-apiserver: ${missing}; unset it for the embedded API`,
    );
  return {
    controlPlane: async () => {
      const plane = await startControlPlane({ assets });
      return { ...plane, ca: readFileSync(plane.caFile, "utf8") };
    },
  };
}

/** For whoever reads a figure. */
export const labApiName = (): string => (process.env.KUBEBUILDER_ASSETS ? "kube-apiserver and etcd" : "embedded API");
