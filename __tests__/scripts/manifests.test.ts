/**
 * The synthesized baker stack as Kubernetes YAML: every field exists in the API's own model with the right type, and
 * nothing is lost on the way.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseAllDocuments } from "yaml";
import { synthesize } from "../../main";
import { toManifests, toYaml, type KubernetesObject } from "../../manifests/kubernetes-objects";

type Stack = Parameters<typeof toManifests>[0];
const root = resolve(__dirname, "../..");
const cases: [string, boolean][] = [
  ["shadownet", false],
  ["mainnet-two-ledgers", true],
  ["existing-cluster", true],
];
const stacks = new Map<string, Stack>();
const folder = mkdtempSync(join(tmpdir(), "tog-manifests-"));
afterAll(() => rmSync(folder, { recursive: true }));

async function stackOf(example: string, flag: boolean): Promise<Stack> {
  const name = `${example}-${flag}`;
  const known = stacks.get(name);
  if (known) return known;
  const outdir = join(folder, name);
  const handed = { environment: {}, options: [{ var: `experimental_active_standby_mode=${flag}` }] };
  await synthesize({ folder: join(root, "examples", example), outdir, handed });
  const stack = JSON.parse(readFileSync(join(outdir, "stacks/baker/cdk.tf.json"), "utf8")) as Stack;
  stacks.set(name, stack);
  return stack;
}

/**
 * Type name -> field -> type, of the Kubernetes client's generated models. It is an ES module, which Jest cannot load:
 * another process reads it.
 */
const models = JSON.parse(
  execFileSync(
    process.execPath,
    [
      "--input-type=module",
      "-e",
      `import * as api from "@kubernetes/client-node";
       const maps = Object.entries(api).filter(([, type]) => typeof type?.getAttributeTypeMap === "function");
       console.log(JSON.stringify(Object.fromEntries(maps.map(([name, type]) =>
         [name, Object.fromEntries(type.getAttributeTypeMap().map(({ baseName, type }) => [baseName, type]))]))));`,
    ],
    { cwd: root, encoding: "utf8", maxBuffer: 2 ** 24 },
  ),
) as Record<string, Record<string, string> | undefined>;

/** Differences between a value and the API's model of that type name. */
function violations(value: unknown, type: string, path: string): string[] {
  const [, item] = /^Array<(.*)>$/.exec(type) ?? [];
  if (item !== undefined)
    return Array.isArray(value)
      ? value.flatMap((inner, i) => violations(inner, item, `${path}[${i}]`))
      : [`${path} is no list`];
  const [, mapped] = /^\{ \[key: string\]: (.*); \}$/.exec(type) ?? [];
  if (mapped !== undefined)
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? Object.entries(value).flatMap(([key, inner]) => violations(inner, mapped, `${path}.${key}`))
      : [`${path} is no map`];
  if (["string", "number", "boolean"].includes(type))
    return typeof value === type ? [] : [`${path} is no ${type}: ${JSON.stringify(value)}`];
  if (type === "IntOrString")
    return ["string", "number"].includes(typeof value) ? [] : [`${path} is neither number nor text`];
  if (type === "Quantity") return typeof value === "string" ? [] : [`${path} is no quantity`];
  const model = models[type];
  if (!model) return [`${path}: the API has no type ${type}`];
  if (typeof value !== "object" || value === null || Array.isArray(value)) return [`${path} is no ${type}`];
  return Object.entries(value).flatMap(([key, inner]) => {
    const attribute = Object.hasOwn(model, key) ? model[key] : undefined;
    return attribute === undefined
      ? [`${path}.${key} does not exist in ${type}`]
      : violations(inner, attribute, `${path}.${key}`);
  });
}

const check = (object: KubernetesObject): string[] =>
  violations(object, `V1${object.kind}`, `${object.kind}/${String(object.metadata.name)}`);

/** All scalars below a value, as texts. */
const leaves = (value: unknown): string[] =>
  typeof value === "object" && value !== null
    ? Object.values(value).flatMap(leaves)
    : value === null
      ? []
      : [String(value)];

test.each(cases)("every object of %s (flag %s) fits the API's own model and survives YAML", async (example, flag) => {
  const objects = toManifests(await stackOf(example, flag));
  expect(objects.flatMap(check)).toEqual([]);
  expect(parseAllDocuments(toYaml(objects)).map((document) => document.toJS() as unknown)).toEqual(objects);
  expect(objects[0]?.kind).toBe("Namespace");
  expect(new Set(objects.map((object) => `${object.kind}/${String(object.metadata.name)}`)).size).toBe(objects.length);
});

test.each(cases)("no value of a StatefulSet of %s (flag %s) is lost or invented", async (example, flag) => {
  const stack = await stackOf(example, flag);
  const resource = Object.values(stack.resource?.kubernetes_stateful_set_v1 ?? {})[0] as {
    spec: unknown;
    metadata: unknown;
  };
  const object = toManifests(stack).find(({ kind }) => kind === "StatefulSet");
  const normal = (values: string[]) =>
    values.map((value) => value.replace(/\$\{try\([^{}]*\)\}/g, "").replaceAll("$${", "${")).sort();
  const modes: Record<string, string> = { "0440": "288", "0444": "292" };
  expect(normal(leaves([object?.spec, object?.metadata]))).toEqual(
    normal(leaves([resource.spec, resource.metadata]).map((value) => modes[value] ?? value)),
  );
});

test("the budget of the tunnels is printed as its chart is given it, and what other charts install is said to be missing", async () => {
  const notes: string[] = [];
  const objects = toManifests(await stackOf("mainnet-two-ledgers", true), (note) => notes.push(note));
  const budgets = objects.filter(({ kind }) => kind === "PodDisruptionBudget");
  expect(
    budgets.map(({ metadata, spec }) => [metadata.name, (spec as Record<string, string>).unhealthyPodEvictionPolicy]),
  ).toEqual(
    expect.arrayContaining([
      [expect.stringMatching(/-as$/), undefined],
      [expect.stringMatching(/-tunnels$/), "AlwaysAllow"],
    ]),
  );
  expect(notes.filter((note) => note.includes("helm_release"))).toEqual([
    "helm_release.monitoring left out: what its chart installs only Helm knows",
  ]);
});

test("the API's model is a real judge: a wrong type and a wrong name are found", () => {
  const object = {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "x" },
    spec: { ports: [{ port: "80" }], clusterIp: "None" },
  };
  expect(check(object)).toEqual([
    'Service/x.spec.ports[0].port is no number: "80"',
    "Service/x.spec.clusterIp does not exist in V1ServiceSpec",
  ]);
});

test("an unknown key, an unknown type and a value that only Terraform knows are errors", () => {
  const service = (spec: unknown) => ({
    resource: { kubernetes_service_v1: { s: { metadata: { name: "s" }, spec } } },
  });
  expect(() => toManifests(service({ selectr: {} }))).toThrow(
    "kubernetes_service_v1.s.spec.selectr: manifests/kubernetes-objects.ts does not know this key",
  );
  expect(() => toManifests({ resource: { kubernetes_job_v1: { j: {} } } })).toThrow(
    "does not know the resource type kubernetes_job_v1",
  );
  expect(() => toManifests(service({ type: "${var.x}" }))).toThrow("wants a value that is known without Terraform");
  expect(() => toManifests(service({ publish_not_ready_addresses: "yes" }))).toThrow("wants true or false");
});

test("a secret becomes a placeholder and is said; an escaped expression becomes its text", () => {
  const notes: string[] = [];
  const [object] = toManifests(
    {
      resource: {
        kubernetes_secret_v1: {
          s: {
            metadata: { name: "s" },
            data: { key: '${var.secrets.hot_keys["alice"]["tz1"]}', plain: "echo $${HOME}" },
          },
        },
      },
    },
    (note) => notes.push(note),
  );
  expect(object).toMatchObject({ stringData: { key: "<secrets.hot_keys.alice.tz1>", plain: "echo ${HOME}" } });
  expect(notes).toEqual(['kubernetes_secret_v1.s.data["key"] is a secret: replace its placeholder']);
});
