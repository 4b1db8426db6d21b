/** helm, and the definitions of the kinds that the monitoring chart uses: from test:assets, or given. */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { defaultCache } from "../../tools/test-assets";
import type { ControlPlane } from "../../tools/test-assets/control-plane";

export interface KubeObject {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string };
  spec: Record<string, unknown> & { names: { kind: string; plural: string } };
}
export const documents = (text: string): KubeObject[] =>
  parseAllDocuments(text).flatMap((document) => (document.toJSON() as KubeObject) ?? []);

/** `MONITORING_CRDS` names another folder with one YAML file each. */
const folder = process.env.MONITORING_CRDS ?? join(defaultCache(), "definitions");
export const helm = [join(defaultCache(), "bin/helm"), "helm"].find(
  (program) => spawnSync(program, ["version"]).status === 0,
);

export function missingForCharts(): string | undefined {
  if (helm === undefined) return "no helm: npm run test:assets -- --only helm";
  if (existsSync(folder) && readdirSync(folder).length >= 3) return undefined;
  return `no definitions of the kinds of monitoring: npm run test:assets -- --only google-monitoring-kinds,pod-monitor-kind,prometheus-rule-kind`;
}

/** Makes the kinds known to the API server. @returns kind -> its plural */
export async function define(plane: ControlPlane): Promise<Map<string, string>> {
  const plurals = new Map<string, string>();
  const definitions = readdirSync(folder)
    .filter((name) => name.endsWith(".yaml"))
    .flatMap((file) => documents(readFileSync(join(folder, file), "utf8")))
    .filter(({ kind }) => kind === "CustomResourceDefinition");
  for (const definition of definitions) {
    const path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    const { status, body } = await plane.call("POST", path, definition);
    if (status !== 201) throw new Error(`${definition.metadata.name}: ${status} ${JSON.stringify(body)}`);
    plurals.set(definition.spec.names.kind, definition.spec.names.plural);
  }
  return plurals;
}
