import {
  accessSync,
  chmodSync,
  constants,
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { daemonCommand, nodeOptions, togCommand } from "../../contract/images";
import {
  buildSteps,
  cloudBuild,
  digestIn,
  fromConfiguration,
  imageNames,
  lockedIntegrity,
  octezFor,
  publish,
  stageContext,
  verifyIntegrity,
  withDigests,
} from "../../scripts/publish-images";

const options = {
  images: imageNames,
  registry: "reg.example/project/bakers",
  tag: "t1",
  octez: "docker.io/tezos/tezos-bare:octez-v25.1",
  context: "/c",
  push: true,
};
const digest = (digit: string) => `sha256:${digit.repeat(64)}`;

test("the baker's image is built from tezos-bare of the version, the others are not", () => {
  const commands = buildSteps({ ...options, builder: "podman" }).map((step) => step.command.join(" "));
  expect(commands.filter((command) => command.includes("OCTEZ_IMAGE="))).toEqual([
    expect.stringContaining("OCTEZ_IMAGE=docker.io/tezos/tezos-bare:octez-v25.1 -f /c/baker-base.Containerfile"),
  ]);
  expect(commands.filter((command) => command.startsWith("podman push"))).toEqual([
    "podman push --digestfile /c/runtime.digest reg.example/project/bakers/runtime:t1",
    "podman push --digestfile /c/baker.digest reg.example/project/bakers/baker:t1",
    "podman push --digestfile /c/signer_link.digest reg.example/project/bakers/signer-link:t1",
  ]);
});

test("every base is built before the image that stands on it", () => {
  for (const builder of ["docker", "podman", "buildah"] as const) {
    const built = new Set<string>();
    for (const { command } of buildSteps({ ...options, builder })) {
      const base = command.find((word) => word.startsWith("BASE="))?.slice(5);
      if (base !== undefined) expect(built).toContain(base);
      built.add(command[command.indexOf("-t") + 1] ?? "");
    }
  }
});

test("without push nothing is pushed", () => {
  expect(buildSteps({ ...options, builder: "docker", push: false }).flatMap((step) => step.command)).not.toContain(
    "push",
  );
});

test("Cloud Build gets the same recipes with relative paths", () => {
  expect(cloudBuild({ ...options, images: ["runtime"] })).toMatchObject({
    steps: [
      { args: ["build", "-f", "runtime-base.Containerfile", "-t", "localhost/tezos-on-gke/runtime-base:t1", "."] },
      {
        args: [
          "build",
          "--build-arg",
          "BASE=localhost/tezos-on-gke/runtime-base:t1",
          "-f",
          "tog.Containerfile",
          "-t",
          "reg.example/project/bakers/runtime:t1",
          ".",
        ],
      },
    ],
    images: ["reg.example/project/bakers/runtime:t1"],
  });
});

test("a digest is taken from what the tools print, and never guessed", () => {
  expect(digestIn(`${digest("a")}\n`, "r/x")).toBe(digest("a"));
  expect(digestIn(`other/x@${digest("a")}\nr/x@${digest("b")}\n`, "r/x")).toBe(digest("b"));
  for (const text of ["", "sha256:abc", `a/x@${digest("a")} b/x@${digest("b")}`])
    expect(() => digestIn(text, "r/x")).toThrow("expected a digest");
});

test("digests are added to the file, and what else it holds is kept", () => {
  const before = JSON.stringify({ region: "x", images: { octez: "o@sha256:1", runtime: "old" } });
  expect(JSON.parse(withDigests(before, { runtime: "new" }))).toEqual({
    region: "x",
    images: { octez: "o@sha256:1", runtime: "new" },
  });
  expect(JSON.parse(withDigests(undefined, { runtime: "new" }))).toEqual({ images: { runtime: "new" } });
});

describe("with a folder", () => {
  const folder = mkdtempSync(join(tmpdir(), "tog-publish-"));
  const path = process.env.PATH;
  afterAll(() => {
    process.env.PATH = path;
    rmSync(folder, { recursive: true, force: true });
  });

  test("every base that we choose is one exact image, and the same one in every image", async () => {
    const context = join(folder, "bases");
    await stageContext(context);
    const bases = readdirSync(context)
      .filter((file) => file.endsWith(".Containerfile"))
      .flatMap((file) => [...readFileSync(join(context, file), "utf8").matchAll(/^ARG (\w+)=(.+)$/gm)])
      .map(([, name, image]) => `${name} ${image}`);
    expect(bases.length).toBeGreaterThan(3);
    for (const base of bases) expect(base).toMatch(/^\w+ docker\.io\/library\/[a-z]+:\S+@sha256:[0-9a-f]{64}$/);
    expect(new Set(bases).size).toBe(2);
  });

  test("the context holds one program, its native module and its name on the path", async () => {
    const context = join(folder, "context");
    expect(await stageContext(context)).toMatch(/^[0-9a-f]{64}$/);
    expect(readFileSync(join(context, "tog/tog.cjs"), "utf8").startsWith("#!/usr/local/bin/node\n")).toBe(true);
    expect(readlinkSync(join(context, "bin/tog"))).toBe("../lib/tog/tog.cjs");
    expect(readFileSync(join(context, "tog.Containerfile"), "utf8")).toContain(`NODE_OPTIONS="${nodeOptions}"`);
    expect(togCommand.at(-1)).toBe("/usr/local/bin/tog");
    expect(daemonCommand.at(-2)).toBe("/usr/local/bin/tog-init");
    accessSync(join(context, "bin/tog-init"), constants.X_OK);
    const loads = `require(${JSON.stringify(join(context, "tog/node_modules/koffi"))}).load(null).func("int getpid()")()`;
    expect(Number(execFileSync(process.execPath, ["-p", loads], { encoding: "utf8" }))).toBeGreaterThan(0);
  });

  test("publishing runs the tool and tells the digests; a failing tool fails it", async () => {
    const tool = join(folder, "podman");
    const calls = join(folder, "calls");
    const script = `#!/bin/sh\necho "$@" >> ${calls}\n[ "$1" = push ] && echo ${digest("c")} > "$3"\n[ ! -e ${folder}/broken ]\n`;
    writeFileSync(tool, script);
    chmodSync(tool, 0o755);
    process.env.PATH = `${folder}${delimiter}${path}`;
    const error = jest.spyOn(console, "error").mockImplementation(() => undefined);
    expect(await publish({ ...options, images: ["runtime"], context: folder, builder: "podman" })).toEqual({
      runtime: `reg.example/project/bakers/runtime@${digest("c")}`,
    });
    expect(readFileSync(calls, "utf8").trim().split("\n")).toHaveLength(3);
    writeFileSync(join(folder, "broken"), "");
    await expect(publish({ ...options, images: ["runtime"], context: folder, builder: "podman" })).rejects.toThrow(
      "podman build --platform ended with 1",
    );
    error.mockRestore();
    expect(existsSync(join(folder, "broken"))).toBe(true);
  });
});

test("an images.octez of the configuration is taken although registry and version are given, and written only then", async () => {
  const folder = mkdtempSync(join(tmpdir(), "tog-publish-"));
  try {
    cpSync(join(__dirname, "../../examples/shadownet/terraform.tfvars"), join(folder, "terraform.tfvars"));
    const own = `example.org/octez@${digest("c")}`;
    const look = () => fromConfiguration({ registry: "reg.example/x", octezVersion: "v25.1", folder });
    expect((await look()).own).toBeUndefined();
    writeFileSync(join(folder, "images.auto.tfvars.json"), JSON.stringify({ images: { octez: own } }));
    expect(await look()).toEqual({ registry: "reg.example/x", octezVersion: "v25.1", octez: own, own });
    writeFileSync(join(folder, "terraform.tfvars"), "bakers = {");
    expect(await look()).toMatchObject({ octez: options.octez, own: undefined });
  } finally {
    rmSync(folder, { recursive: true });
  }
  const pinned = `${options.octez}@${digest("a")}`;
  expect(octezFor(imageNames, options.octez, options.octez)).toEqual({});
  expect(octezFor(imageNames, options.octez, options.octez, "x")).toEqual({ octez: options.octez });
  expect(octezFor(imageNames, options.octez, pinned)).toEqual({ octez: pinned });
  expect(octezFor(["runtime"], options.octez, pinned)).toEqual({});
});

test("a downloaded package is used only where it is the one of the lock file", () => {
  const name = "@koromix/koffi-linux-x64";
  expect(lockedIntegrity(name)).toEqual({
    version: expect.stringMatching(/^\d+\.\d+\.\d+$/),
    integrity: expect.stringMatching(/^sha512-/),
  });
  expect(() => lockedIntegrity("@koromix/koffi-unheard-of")).toThrow(/must hold version and sha512/);
  const archive = Buffer.from("an archive");
  const integrity = `sha512-${createHash("sha512").update(archive).digest("base64")}`;
  expect(() => verifyIntegrity(name, archive, integrity)).not.toThrow();
  expect(() => verifyIntegrity(name, Buffer.from("an Archive"), integrity)).toThrow(/the lock file's sha512-/);
});
