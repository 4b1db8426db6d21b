/** The things that the heavy suites need, and every way in which one can be had, in order of preference. */
import { copyFileSync, chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { get } from "node:https";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createWriteStream } from "node:fs";
import { spawn } from "node:child_process";

export interface Context {
  cache: string;
  /** Runs a program to its end; rejects with the last lines of its output. */
  run(command: string, args: string[], options?: { cwd?: string; env?: Record<string, string>; timeoutSeconds?: number }): Promise<string>;
  download(url: string, file: string): Promise<void>;
}
export interface Source {
  name: string;
  /** Puts the asset's files below the cache folder. @throws Error with the reason where it cannot */
  obtain(context: Context): Promise<void>;
}
export interface Asset {
  name: string;
  version: string;
  /** Relative to the cache folder. */
  files: string[];
  sources: Source[];
}

export const versions = {
  kubernetes: "1.36.3",
  etcd: "3.6.5",
  kwok: "0.7.0",
  google: "6.50.0",
  kubernetesProvider: "2.38.0",
  helm: "3.1.1",
};

const staging = /^(\s*)(k8s\.io\/[a-z0-9-]+) => \.\/staging\/src\/k8s\.io\/[a-z0-9-]+/gm;

/** The go.mod of a module that builds `parent`'s commands: its own requirements, with the staging folders as published modules. */
export function wrapperModule(parentGoMod: string, parent: string, version: string): string {
  const stagingVersion = version.replace(/^v1\./, "v0.");
  const own = parentGoMod
    .replace(/^module .*$/m, "module tezos-on-gke.test/assets")
    .replace(staging, `$1$2 => $2 ${stagingVersion}`)
    // What else is replaced by a folder of the parent's repository is published under its required version.
    .replace(/^\s*(replace )?\S+ => \.\.?\/.*$/gm, "");
  return `${own}\nrequire ${parent} ${version}\n`;
}

/** Builds one command of a module from the Go module proxy of the environment. */
function goBuild(module: string, version: string, command: string, output: string, ldflags = ""): Source {
  return {
    name: `go build ${command}@${version}`,
    async obtain({ cache, run }) {
      const env = { GOFLAGS: "-mod=mod", CGO_ENABLED: "0", GOWORK: "off" };
      const info = JSON.parse(await run("go", ["mod", "download", "-json", `${module}@${version}`], { env, timeoutSeconds: 900 })) as {
        Dir: string;
      };
      const folder = join(cache, "build", module.replaceAll("/", "_"));
      mkdirSync(folder, { recursive: true });
      const goMod = wrapperModule(readFileSync(join(info.Dir, "go.mod"), "utf8"), module, version);
      writeFileSync(join(folder, "go.mod"), goMod);
      const sum = join(info.Dir, "go.sum");
      if (existsSync(sum)) copyFileSync(sum, join(folder, "go.sum"));
      chmodSync(join(folder, "go.sum"), 0o644);
      mkdirSync(join(cache, output, ".."), { recursive: true });
      const partial = join(cache, `${output}.partial`);
      await run("nice", ["-n", "19", "go", "build", "-trimpath", "-p", "2", "-ldflags", `-s -w ${ldflags}`, "-o", partial, command], {
        cwd: folder,
        env,
        timeoutSeconds: 3600,
      });
      await run("mv", [partial, join(cache, output)]);
    },
  };
}
const vendor = (url: string, file: string): Source => ({ name: url, obtain: ({ cache, download }) => download(url, join(cache, file)) });

function kubernetes(name: string): Asset {
  const file = `bin/${name}`;
  const version = `v${versions.kubernetes}`;
  const [major, minor] = versions.kubernetes.split(".");
  const at = "k8s.io/component-base/version";
  const ldflags = `-X ${at}.gitVersion=${version} -X ${at}.gitMajor=${major} -X ${at}.gitMinor=${minor}`;
  return {
    name,
    version,
    files: [file],
    sources: [
      vendor(`https://dl.k8s.io/release/${version}/bin/linux/amd64/${name}`, file),
      goBuild("k8s.io/kubernetes", version, `k8s.io/kubernetes/cmd/${name}`, file, ldflags),
    ],
  };
}

/** A provider in Terraform's filesystem-mirror layout, as an unpacked folder. */
function provider(name: string, version: string, module: string): Asset {
  const file = `mirror/registry.terraform.io/hashicorp/${name}/${version}/linux_amd64/terraform-provider-${name}_v${version}`;
  const url = `https://releases.hashicorp.com/terraform-provider-${name}/${version}/terraform-provider-${name}_${version}_linux_amd64.zip`;
  return {
    name: `provider-${name}`,
    version,
    files: [file],
    sources: [
      {
        name: url,
        async obtain({ cache, run, download }) {
          const zip = join(cache, `provider-${name}.zip`);
          await download(url, zip);
          const folder = join(cache, file, "..");
          mkdirSync(folder, { recursive: true });
          await run("unzip", ["-o", "-q", zip, "-d", folder]);
          const binary = readdirSync(folder).find((entry) => entry.startsWith(`terraform-provider-${name}_v${version}`));
          if (!binary) throw new Error(`the archive of ${url} holds no provider`);
          if (join(folder, binary) !== join(cache, file)) await run("mv", [join(folder, binary), join(cache, file)]);
          rmSync(zip, { force: true });
        },
      },
      goBuild(module, `v${version}`, module, file),
    ],
  };
}

export const assets: Asset[] = [
  {
    name: "etcd",
    version: `v${versions.etcd}`,
    files: ["bin/etcd"],
    sources: [
      {
        name: `https://github.com/etcd-io/etcd/releases v${versions.etcd}`,
        async obtain({ cache, run, download }) {
          const name = `etcd-v${versions.etcd}-linux-amd64`;
          const archive = join(cache, `${name}.tar.gz`);
          await download(`https://github.com/etcd-io/etcd/releases/download/v${versions.etcd}/${name}.tar.gz`, archive);
          mkdirSync(join(cache, "bin"), { recursive: true });
          await run("tar", ["-xzf", archive, "-C", join(cache, "bin"), "--strip-components=1", `${name}/etcd`]);
          rmSync(archive, { force: true });
        },
      },
      goBuild("go.etcd.io/etcd/server/v3", `v${versions.etcd}`, "go.etcd.io/etcd/server/v3", "bin/etcd"),
      {
        name: "Debian package etcd-server",
        async obtain({ cache, run }) {
          await run("apt-get", ["install", "-y", "-q", "etcd-server"], { timeoutSeconds: 300 });
          mkdirSync(join(cache, "bin"), { recursive: true });
          copyFileSync("/usr/bin/etcd", join(cache, "bin/etcd"));
        },
      },
    ],
  },
  kubernetes("kube-apiserver"),
  kubernetes("kube-controller-manager"),
  kubernetes("kube-scheduler"),
  {
    name: "kubectl",
    version: `v${versions.kubernetes}`,
    files: ["bin/kubectl"],
    sources: [
      {
        name: "on PATH",
        async obtain({ cache, run }) {
          const path = (await run("sh", ["-c", "command -v kubectl"])).trim();
          mkdirSync(join(cache, "bin"), { recursive: true });
          copyFileSync(path, join(cache, "bin/kubectl"));
        },
      },
      ...kubernetes("kubectl").sources,
    ],
  },
  {
    name: "kwok",
    version: `v${versions.kwok}`,
    files: ["bin/kwok"],
    sources: [
      vendor(`https://github.com/kubernetes-sigs/kwok/releases/download/v${versions.kwok}/kwok-linux-amd64`, "bin/kwok"),
      goBuild("sigs.k8s.io/kwok", `v${versions.kwok}`, "sigs.k8s.io/kwok/cmd/kwok", "bin/kwok"),
    ],
  },
  provider("kubernetes", versions.kubernetesProvider, "github.com/hashicorp/terraform-provider-kubernetes/v2"),
  provider("helm", versions.helm, "github.com/hashicorp/terraform-provider-helm/v3"),
  provider("google", versions.google, "github.com/hashicorp/terraform-provider-google/v6"),
];

/** Downloads with a short connection deadline, into a partial file that is renamed when it is whole. */
export async function download(url: string, file: string): Promise<void> {
  const { renameSync } = await import("node:fs");
  mkdirSync(join(file, ".."), { recursive: true });
  const partial = `${file}.partial`;
  await new Promise<void>((resolve, reject) => {
    const request = get(url, { timeout: 8000 }, (response) => {
      const location = response.headers.location;
      if (location !== undefined && (response.statusCode ?? 0) >= 300 && (response.statusCode ?? 0) < 400) {
        response.resume();
        download(new URL(location, url).href, file).then(resolve, reject);
        return;
      }
      if (response.statusCode !== 200) {
        response.resume();
        reject(new Error(`HTTP ${response.statusCode}`));
        return;
      }
      pipeline(response, createWriteStream(partial, { mode: 0o755 })).then(() => {
        renameSync(partial, file);
        chmodSync(file, 0o755);
        resolve();
      }, reject);
    });
    request.on("timeout", () => request.destroy(new Error("no answer within 8 s")));
    request.on("error", reject);
  });
}

export const run: Context["run"] = (command, args, options = {}) =>
  new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: options.cwd, env: { ...process.env, ...options.env }, stdio: ["ignore", "pipe", "pipe"] });
    let [stdout, stderr] = ["", ""];
    child.stdout.on("data", (data: Buffer) => (stdout += data.toString()));
    child.stderr.on("data", (data: Buffer) => (stderr = (stderr + data.toString()).slice(-4000)));
    const timer = setTimeout(() => child.kill("SIGKILL"), (options.timeoutSeconds ?? 120) * 1000);
    child.on("error", (error) => reject(new Error(`${command}: ${error.message}`)));
    child.on("exit", (code, signal) => {
      clearTimeout(timer);
      if (code === 0) resolve(stdout);
      else
        reject(
          new Error(
            `${command} ${args[0] ?? ""}: ${signal ?? `exit ${code}`}: ${(stderr || stdout).trim().split("\n").slice(-2).join(" | ").slice(-300)}`,
          ),
        );
    });
  });
