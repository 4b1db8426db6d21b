/**
 * `npm run publish-images [-- OPTIONS]`: builds the images with docker, podman, buildah or Cloud Build, pushes them,
 * and writes their digests to images.auto.tfvars.json, which the configuration reads, with that of Octez' own image
 * where it was verified. Without --registry the registry is the one that the platform stack makes.
 */
import "../configuration/node";
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { defaultOctezVersion } from "../contract/images";
import { buildDaemons } from "./build";
import { chooseOctezImage, octezSigningKey, verifyOctezImage } from "./octez-image";

const root = resolve(__dirname, "..");
/** As in the configuration's `images`. */
export const imageNames = ["runtime", "baker", "signer_link"] as const;
export type ImageName = (typeof imageNames)[number];
export const builders = ["docker", "podman", "buildah", "cloud-build"] as const;
export type Builder = (typeof builders)[number];
/** GKE's nodes; the native module is for it too. */
const platform = "linux/amd64";
const koffiPlatform = "koffi-linux-x64";

export interface Step {
  command: string[];
  /** The image whose digest this step tells: in the file, or on stdout. */
  digestOf?: ImageName;
  digestFile?: string;
}
export interface BuildOptions {
  builder: Exclude<Builder, "cloud-build">;
  images: readonly ImageName[];
  /** Without a trailing slash. */
  registry: string;
  tag: string;
  /** Octez as published. */
  octez: string;
  /** A folder made by stageContext. */
  context: string;
  push: boolean;
}

const repository = (name: ImageName): string => name.replace("_", "-");
export const reference = ({ registry, tag }: { registry: string; tag: string }, name: ImageName): string =>
  `${registry}/${repository(name)}:${tag}`;

/** What each image is built from: Containerfile and build arguments, the last one is the image itself. */
export function recipes(name: ImageName, tag: string, octez: string): { file: string; tag?: string; args: string[] }[] {
  if (name === "signer_link") return [{ file: "signer-link.Containerfile", args: [] }];
  const base = `localhost/tezos-on-gke/${name}-base:${tag}`;
  const args = name === "baker" ? [`OCTEZ_IMAGE=${octez}`] : [];
  return [
    { file: `${name}-base.Containerfile`, tag: base, args },
    { file: "tog.Containerfile", args: [`BASE=${base}`] },
  ];
}

/** The commands in their order. */
export function buildSteps(options: BuildOptions): Step[] {
  const { builder, context } = options;
  return options.images.flatMap((name) => {
    const final = reference(options, name);
    const builds = recipes(name, options.tag, options.octez).map(({ file, tag, args }): Step => ({
      command: [
        ...[builder, "build", "--platform", platform],
        // The same content has the same digest: no pod restarts for nothing.
        ...(builder === "docker" ? [] : ["--format", "oci", "--timestamp", "0"]),
        ...args.flatMap((arg) => ["--build-arg", arg]),
        ...["-f", join(context, file), "-t", tag ?? final, context],
      ],
    }));
    if (!options.push) return builds;
    const digestFile = join(context, `${name}.digest`);
    const pushes: Step[] =
      builder === "docker"
        ? [
            { command: ["docker", "push", final] },
            { command: ["docker", "inspect", "--format", '{{join .RepoDigests "\\n"}}', final], digestOf: name },
          ]
        : [{ command: [builder, "push", "--digestfile", digestFile, final], digestOf: name, digestFile }];
    return [...builds, ...pushes];
  });
}

/** The same as a Cloud Build configuration. */
export function cloudBuild(options: Omit<BuildOptions, "builder" | "context" | "push">): object {
  const steps = options.images.flatMap((name) =>
    recipes(name, options.tag, options.octez).map(({ file, tag, args }) => ({
      name: "gcr.io/cloud-builders/docker",
      args: [
        "build",
        ...args.flatMap((arg) => ["--build-arg", arg]),
        "-f",
        file,
        "-t",
        tag ?? reference(options, name),
        ".",
      ],
    })),
  );
  return { steps, images: options.images.map((name) => reference(options, name)), timeout: "1200s" };
}

/** sha256:... of a tool's words about one image. @throws Error where there is none */
export function digestIn(text: string, repositoryName: string): string {
  const lines = text.split(/\s+/).filter((word) => word.includes("sha256:"));
  const found =
    lines.find((word) => word.startsWith(`${repositoryName}@`)) ?? (lines.length === 1 ? lines[0] : undefined);
  const digest = /sha256:[0-9a-f]{64}$/.exec(found ?? "")?.[0];
  if (digest === undefined)
    throw new Error(
      `expected a digest (sha256: and 64 hex digits) of ${repositoryName}; got ${JSON.stringify(text.slice(0, 200))}`,
    );
  return digest;
}

type Published = Readonly<Partial<Record<ImageName | "octez", string>>>;
/** images.auto.tfvars.json with these images changed and everything else kept. */
export function withDigests(before: string | undefined, images: Published): string {
  const file = (before === undefined ? {} : JSON.parse(before)) as { images?: Record<string, string> };
  return JSON.stringify({ ...file, images: { ...file.images, ...images } }, null, 2) + "\n";
}

/**
 * Makes the build context: the bundle with a launcher, the native module, the Containerfiles. Resolves with a hash of
 * all of it.
 * @param folder empty or missing
 */
export async function stageContext(folder: string): Promise<string> {
  const tog = join(folder, "tog");
  mkdirSync(tog, { recursive: true });
  const bundle = await buildDaemons(join(tog, "tog.cjs"));
  // No env, no shell: the interpreter's own path.
  writeFileSync(bundle, readFileSync(bundle, "utf8").replace(/^#!.*\n/, "#!/usr/local/bin/node\n"));
  chmodSync(bundle, 0o755);
  mkdirSync(join(folder, "bin"));
  symlinkSync("../lib/tog/tog.cjs", join(folder, "bin/tog"));
  cpSync(join(root, "images/tog-init"), join(folder, "bin/tog-init"));
  const modules = join(root, "node_modules");
  const koffi = join(tog, "node_modules/koffi");
  for (const file of ["package.json", "LICENSE.txt", "index.cjs", "src/koffi/index.cjs", "src/koffi/src/static.cjs"])
    cpSync(join(modules, "koffi", file), join(koffi, file), { recursive: true });
  const native = join(tog, "node_modules/@koromix", koffiPlatform);
  if (existsSync(join(modules, "@koromix", koffiPlatform)))
    cpSync(join(modules, "@koromix", koffiPlatform), native, { recursive: true });
  // Another machine than the image's: npm has installed another one.
  else fetchPackage(`@koromix/${koffiPlatform}`, native, folder);
  const hash = createHash("sha256")
    .update(readFileSync(bundle))
    .update(readFileSync(join(folder, "bin/tog-init")));
  for (const file of ["runtime-base", "baker-base", "tog", "signer-link"].map((name) => `${name}.Containerfile`)) {
    cpSync(join(root, "images", file), join(folder, file));
    hash.update(readFileSync(join(folder, file)));
  }
  return hash.digest("hex");
}

/** Version and `sha512-...` of a package in the project's lock file. @throws Error where the lock file has none */
export function lockedIntegrity(name: string): { version: string; integrity: string } {
  const lock = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")) as {
    packages: Record<string, { version: string; integrity?: string } | undefined>;
  };
  const { version, integrity } = lock.packages[`node_modules/${name}`] ?? {};
  if (version === undefined || !integrity?.startsWith("sha512-"))
    throw new Error(`package-lock.json must hold version and sha512 of ${name}; got ${integrity ?? "none"}`);
  return { version, integrity };
}

/** @throws Error where the archive is another one than the lock file's */
export function verifyIntegrity(name: string, archive: Buffer, integrity: string): void {
  const got = `sha512-${createHash("sha512").update(archive).digest("base64")}`;
  if (got !== integrity)
    throw new Error(`${name}: the downloaded archive must have the lock file's ${integrity}; got ${got}`);
}

/** Downloads a package that npm left out on this machine and unpacks it, if it is the lock file's. */
function fetchPackage(name: string, target: string, folder: string): void {
  const { version, integrity } = lockedIntegrity(name);
  const run = (program: string, ...args: string[]): string => {
    const { status, stdout, stderr } = spawnSync(program, args, { encoding: "utf8" });
    if (status !== 0) throw new Error(`${program} ${args.slice(0, 3).join(" ")}: ${stderr}`);
    return stdout.trim();
  };
  const archive = join(folder, run("npm", "pack", "--silent", `${name}@${version}`, "--pack-destination", folder));
  verifyIntegrity(name, readFileSync(archive), integrity);
  mkdirSync(target, { recursive: true });
  run("tar", "-xzf", archive, "-C", target, "--strip-components=1");
  rmSync(archive);
}

/** Runs a command with its output on stderr; resolves with its stdout. @throws Error where it fails */
function run(command: readonly string[]): Promise<string> {
  return new Promise((done, fail) => {
    console.error(`$ ${command.join(" ")}`);
    const child = spawn(command[0] ?? "", command.slice(1), { stdio: ["ignore", "pipe", "inherit"], env: process.env });
    let output = "";
    child.stdout.on("data", (data: Buffer) => {
      output += data.toString();
      process.stderr.write(data);
    });
    child.once("error", fail);
    child.once("close", (code) =>
      code === 0 ? done(output) : fail(new Error(`${command.slice(0, 3).join(" ")} ended with ${code}`)),
    );
  });
}

/** The first that works here. */
function findBuilder(): Builder {
  const works = (...command: string[]): boolean =>
    spawnSync(command[0] ?? "", command.slice(1), { stdio: "ignore", timeout: 20_000 }).status === 0;
  if (works("docker", "info")) return "docker";
  if (works("podman", "info")) return "podman";
  if (works("buildah", "version")) return "buildah";
  if (works("gcloud", "version")) return "cloud-build";
  throw new Error("one of docker (running), podman, buildah or gcloud must be installed; none works here");
}

/** Builds and pushes; resolves with REPOSITORY@sha256:... by name. */
export async function publish(
  options: Omit<BuildOptions, "builder"> & { builder: Builder },
): Promise<Partial<Record<ImageName, string>>> {
  const { builder, context } = options;
  const published: Partial<Record<ImageName, string>> = {};
  const note = (name: ImageName, text: string): void => {
    const where = `${options.registry}/${repository(name)}`;
    published[name] = `${where}@${digestIn(text, where)}`;
  };
  if (builder === "cloud-build") {
    const file = join(context, "cloudbuild.json");
    writeFileSync(file, JSON.stringify(cloudBuild(options), null, 2));
    const project = /^[a-z0-9-]+-docker\.pkg\.dev\/([^/]+)\//.exec(options.registry)?.[1];
    const output = await run([
      "gcloud",
      "builds",
      "submit",
      context,
      "--config",
      file,
      "--format",
      "json",
      ...(project ? ["--project", project] : []),
    ]);
    const built =
      (JSON.parse(output) as { results?: { images?: { name: string; digest: string }[] } }).results?.images ?? [];
    for (const name of options.images)
      note(name, built.find((image) => image.name === reference(options, name))?.digest ?? "");
    return published;
  }
  for (const step of buildSteps({ ...options, builder })) {
    const output = await run(step.command);
    if (step.digestOf)
      note(step.digestOf, step.digestFile === undefined ? output : readFileSync(step.digestFile, "utf8"));
  }
  return published;
}

const usage = `npm run publish-images [-- OPTIONS]
  --builder ${builders.join("|")}   default: the first that works
  --registry HOST/PATH     default: the platform stack's, from the configuration
  --only ${imageNames.join(",")}
  --octez-version vX.Y     default: the configuration's
  --cosign-key FILE|URL    Octez' public signing key; default:
                           ${octezSigningKey}
  --no-verify              take Octez' image unverified although cosign is installed
  --tag TAG                default: Octez' version and a hash of the content
  --no-push                build only
  --dry-run                print the commands only`;

const optionTypes = {
  builder: { type: "string" },
  registry: { type: "string" },
  only: { type: "string" },
  "octez-version": { type: "string" },
  "cosign-key": { type: "string" },
  "no-verify": { type: "boolean" },
  tag: { type: "string" },
  "no-push": { type: "boolean" },
  "dry-run": { type: "boolean" },
  help: { type: "boolean" },
} as const;

/** @throws Error for a name that no image has */
const imagesNamed = (only: string | undefined): ImageName[] =>
  (only?.split(",") ?? [...imageNames]).map((name) => {
    const known = imageNames.find((candidate) => candidate === name.replace("-", "_"));
    if (!known) throw new Error(`--only takes names of ${imageNames.join(", ")}; got ${name}`);
    return known;
  });

/**
 * Registry, Octez' version and its image; the configuration's where not given. `own`: its `images.octez` as it is.
 * @throws Error where nobody says
 */
export async function fromConfiguration(given: {
  registry?: string | undefined;
  octezVersion?: string | undefined;
  folder?: string;
}): Promise<{ registry: string; octezVersion: string; octez: string; own: string | undefined }> {
  const { registry, octezVersion, folder = process.cwd() } = given;
  const { resolveConfiguration } = await import("../configuration/load");
  const { cdktfContext } = await import("../configuration/folder");
  const resolved = await resolveConfiguration({ folder, context: cdktfContext(folder) }).catch((error: unknown) => {
    if (registry !== undefined) return undefined;
    throw new Error(
      `without --registry the configuration must say where to push: ${error instanceof Error ? error.message : String(error)}`,
    );
  });
  const configuration = resolved?.configuration;
  if (registry === undefined && configuration?.project === undefined)
    throw new Error("on a cluster of your own, say where to push: --registry HOST/PATH");
  const version = octezVersion ?? configuration?.octez_version ?? defaultOctezVersion;
  const own = configuration?.images.octez;
  return {
    registry: registry ?? `${configuration?.region}-docker.pkg.dev/${configuration?.project}/${configuration?.name}`,
    octezVersion: version,
    octez: chooseOctezImage(version, own),
    own,
  };
}

/**
 * The pods run what the baker's image was built from. A bare tag is written only over an `images.octez` that is there:
 * where the configuration could not be read, one may be there that the operator has chosen.
 * @param verified named by its digest where it was verified
 */
export const octezFor = (images: readonly ImageName[], octez: string, verified: string, own?: string): Published =>
  images.includes("baker") && (verified !== octez || own !== undefined) ? { octez: verified } : {};

async function main(): Promise<void> {
  const { values } = parseArgs({ options: optionTypes });
  if (values.help) return console.log(usage);
  const images = imagesNamed(values.only);
  const wanted = builders.find((name) => name === values.builder);
  if (values.builder !== undefined && !wanted)
    throw new Error(`--builder is one of ${builders.join(", ")}; got ${values.builder}`);
  const { registry, octezVersion, octez, own } = await fromConfiguration({
    registry: values.registry,
    octezVersion: values["octez-version"],
  });
  const verified =
    values["dry-run"] || values["no-verify"] || !images.includes("baker")
      ? { image: octez, says: `${octez}: not verified` }
      : verifyOctezImage(octez, values["cosign-key"]);
  console.error(verified.says);
  const context = mkdtempSync(join(tmpdir(), "tog-images-"));
  try {
    const hash = await stageContext(context);
    const builder = wanted ?? (values["dry-run"] ? "docker" : findBuilder());
    const options = {
      images,
      registry: registry.replace(/\/$/, ""),
      tag: values.tag ?? `${octezVersion}-${hash.slice(0, 12)}`,
      octez: verified.image,
      context,
      push: !values["no-push"],
    };
    if (values["dry-run"]) {
      if (builder === "cloud-build") console.log(JSON.stringify(cloudBuild(options), null, 2));
      else for (const step of buildSteps({ ...options, builder })) console.log(step.command.join(" "));
      return;
    }
    const published = await publish({ ...options, builder });
    if (options.push)
      writeDigests(join(process.cwd(), "images.auto.tfvars.json"), {
        ...published,
        ...octezFor(images, octez, verified.image, own),
      });
  } finally {
    rmSync(context, { recursive: true, force: true });
  }
}

function writeDigests(file: string, published: Published): void {
  writeFileSync(file, withDigests(existsSync(file) ? readFileSync(file, "utf8") : undefined, published));
  const lines = Object.entries(published).map(([name, value]) => `  ${name} = ${value}`);
  console.log(`${file}:\n${lines.join("\n")}`);
}

if (require.main === module)
  main().catch((error: unknown) => {
    console.error(error instanceof Error ? error.message : String(error));
    process.exit(1);
  });
