/**
 * What can be checked of `npm run kind` without Docker: its plan, and that nothing in the objects is left to be filled
 * in.
 */
import { parseAllDocuments } from "yaml";
import { clusterConfiguration, objectsOf, plan } from "../../scripts/kind";

const keys = { alice: { tz1Qi1VXJsKxxbB98TbZHcp2K6USAcTRYjD5: "unencrypted:the key" } };
interface Manifest {
  kind: string;
  stringData?: Record<string, string>;
  spec?: { replicas?: number; template?: { spec: { containers: { image: string }[] } } };
}

test("the objects are whole: keys and nonce secret in place, one baking pod for each zone, the images that are loaded", async () => {
  const text = await objectsOf(keys, "tag");
  expect(text).not.toMatch(/<secrets|<a random value/);
  const objects = parseAllDocuments(text).map((document) => document.toJS() as Manifest);
  const secrets = objects.flatMap(({ stringData }) => Object.values(stringData ?? {}));
  expect(secrets).toEqual(expect.arrayContaining(["unencrypted:the key", expect.stringMatching(/^[0-9a-f]{64}$/)]));
  const baker = objects.find(({ kind }) => kind === "StatefulSet");
  expect(baker?.spec?.replicas).toBe(clusterConfiguration.nodes.filter(({ role }) => role === "worker").length);
  const loaded = plan(text, "/images", "tag").find(({ command }) => command[1] === "load")?.command ?? [];
  const ours = (baker?.spec?.template?.spec.containers ?? [])
    .map(({ image }) => image)
    .filter((image) => image.startsWith("localhost/"));
  expect(ours.length).toBeGreaterThan(0);
  expect(loaded).toEqual(expect.arrayContaining(ours));
});

test("cluster, images, load, apply, in this order, and no secret on a command line", () => {
  const steps = plan("the objects", "/images", "tag");
  const words = steps.map(({ command }) => command.slice(0, 2).join(" "));
  expect(words).toEqual([
    "kind create",
    ...words.filter((word) => word === "docker build"),
    "kind load",
    "kubectl --context",
  ]);
  expect(steps.at(-1)?.input).toBe("the objects");
});
