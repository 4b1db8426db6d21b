import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ensure } from "../../scripts/test-assets";
import { wrapperModule, type Asset, type Context, type Source } from "../../scripts/test-assets/assets";
import { readManifest } from "../../scripts/test-assets/manifest";

let cache: string;
beforeEach(() => (cache = mkdtempSync(join(tmpdir(), "tog-assets-"))));
afterEach(() => rmSync(cache, { recursive: true, force: true }));

const writing = (name: string, text: string, log: string[]): Source => ({
  name,
  obtain: (context) => {
    log.push(name);
    mkdirSync(join(context.cache, "bin"), { recursive: true });
    writeFileSync(join(context.cache, "bin/tool"), text);
    return Promise.resolve();
  },
});
const failing = (name: string, log: string[]): Source => ({ name, obtain: () => (log.push(name), Promise.reject(new Error("refused"))) });
const asset = (sources: Source[], version = "v1"): Asset => ({ name: "tool", version, files: ["bin/tool"], sources });
const context = (): Context => ({
  cache,
  run: () => Promise.reject(new Error("not used")),
  download: () => Promise.reject(new Error("not used")),
});
const quiet = () => undefined;

test("takes the first source that has the asset and names why the others had not", async () => {
  const log: string[] = [];
  const result = await ensure(asset([failing("vendor", log), writing("go", "a", log), writing("debian", "b", log)]), context(), quiet);
  expect(result).toMatchObject({ state: "obtained", source: "go", reasons: ["vendor: refused"] });
  expect(log).toEqual(["vendor", "go"]);
});

test("uses again what is there and unchanged", async () => {
  const log: string[] = [];
  await ensure(asset([writing("go", "a", log)]), context(), quiet);
  expect((await ensure(asset([writing("go", "a", log)]), context(), quiet)).state).toBe("cached");
  expect(log).toEqual(["go"]);
});

test("makes anew what was torn, what is of another version, and everything where the manifest is broken", async () => {
  const log: string[] = [];
  await ensure(asset([writing("go", "whole", log)]), context(), quiet);
  writeFileSync(join(cache, "bin/tool"), "who");
  expect((await ensure(asset([writing("go", "whole", log)]), context(), quiet)).state).toBe("obtained");
  expect(readFileSync(join(cache, "bin/tool"), "utf8")).toBe("whole");
  expect((await ensure(asset([writing("go", "whole", log)], "v2"), context(), quiet)).state).toBe("obtained");
  writeFileSync(join(cache, "manifest.json"), "{");
  expect((await ensure(asset([writing("go", "whole", log)], "v2"), context(), quiet)).state).toBe("obtained");
});

test("an asset that no source has is unavailable, with every reason, and leaves no record", async () => {
  const result = await ensure(asset([failing("vendor", []), failing("go", [])]), context(), quiet);
  expect(result).toMatchObject({ state: "unavailable", reasons: ["vendor: refused", "go: refused"] });
  expect(readManifest(cache)).toEqual({});
});

test("a wrapper module takes the staging folders as published modules", () => {
  const text = wrapperModule(
    "module k8s.io/kubernetes\n\nreplace (\n\tk8s.io/api => ./staging/src/k8s.io/api\n\tother => ../other\n)\n",
    "k8s.io/kubernetes",
    "v1.36.3",
  );
  expect(text).toContain("module tezos-on-gke.test/assets");
  expect(text).toContain("\tk8s.io/api => k8s.io/api v0.36.3");
  expect(text).not.toContain("other");
  expect(text).toContain("require k8s.io/kubernetes v1.36.3");
});
