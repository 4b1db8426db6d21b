/**
 * The chart's objects against the custom resource definitions of those who read them, at a real API server with strict
 * field validation: of the Prometheus operator (PodMonitor, PrometheusRule) and of Google Managed Prometheus
 * (PodMonitoring, Rules).
 */
import { spawnSync } from "node:child_process";
import { resolve } from "node:path";
import { missingForControlPlane, startControlPlane, type ControlPlane } from "../../../tools/test-assets/control-plane";
import { define, documents, helm, missingForCharts, type KubeObject } from "../../helpers/monitoring-kinds";

const missing = missingForControlPlane() ?? missingForCharts();
if (missing !== undefined) console.warn(`skipped: ${missing}`);

const chart = resolve(__dirname, "../../../constructs/monitoring/chart");

(missing === undefined ? describe : describe.skip)("the chart's objects and the definitions of their kinds", () => {
  let plane: ControlPlane;
  let plurals: Map<string, string>;
  beforeAll(async () => {
    plane = await startControlPlane();
    plurals = await define(plane);
  }, 120_000);
  afterAll(() => plane?.stop());

  const create = (object: KubeObject) => {
    const namespace = object.metadata.namespace ?? "default";
    const path =
      object.apiVersion === "v1"
        ? `/api/v1/namespaces/${namespace}/configmaps`
        : `/apis/${object.apiVersion}/namespaces/${namespace}/${plurals.get(object.kind) ?? "unknown"}`;
    return plane.call("POST", `${path}?fieldValidation=Strict&dryRun=All`, object);
  };
  /** A definition is served a moment after it was made. */
  const createServed = async (object: KubeObject) => {
    for (let i = 0; ; i++) {
      const answer = await create(object);
      if (answer.status !== 404 || i === 50) return answer;
      await new Promise((done) => setTimeout(done, 200));
    }
  };

  test.each(["google", "operator"])(
    "collector %s: every object is accepted, and one with a field too many is not",
    async (collector) => {
      const set = ["--set", `collector=${collector},runbooksUrl=https://example.org/runbooks`];
      const { stdout } = spawnSync(helm ?? "", ["template", "x", chart, ...set], { encoding: "utf8", maxBuffer: 1e8 });
      const objects = documents(stdout);
      expect(objects.map(({ kind }) => kind).sort()).toEqual(
        collector === "google"
          ? ["ConfigMap", "PodMonitoring", "Rules"]
          : ["ConfigMap", "PodMonitor", "PrometheusRule"],
      );
      for (const object of objects) {
        // The second "already there" is as good as the first answer.
        const metadata = { name: object.metadata.namespace };
        await plane.call("POST", "/api/v1/namespaces", { apiVersion: "v1", kind: "Namespace", metadata });
        const { status, body } = await createServed(object);
        expect({ kind: object.kind, status, message: status === 201 ? "" : body }).toEqual({
          kind: object.kind,
          status: 201,
          message: "",
        });
        if (object.kind === "ConfigMap") continue;
        const wrong = await create({ ...object, spec: { ...object.spec, endpointz: [] } });
        expect(wrong).toMatchObject({ status: 400 });
        expect(JSON.stringify(wrong.body)).toContain("endpointz");
      }
    },
    60_000,
  );
});
