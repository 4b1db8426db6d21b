/** What the heavy suites need from elsewhere, and the sources that are tried for each, in this order. */
import { homedir } from "node:os";
import { delimiter, join } from "node:path";

export const versions = {
  kubernetes: "1.36.3",
  etcd: "3.6.16",
  kwok: "0.8.0",
  containerd: "2.4.2",
  "provider-kubernetes": "2.38.0",
  "provider-helm": "3.1.1",
  "provider-google": "6.50.0",
  tofu: "1.12.6",
  helm: "3.22.0",
  "prometheus-operator": "0.83.0",
  "prometheus-engine": "0.17.2",
};
const arch = process.arch === "arm64" ? "arm64" : "amd64";
const unit = process.platform === "linux" ? `linux_${arch}` : `${process.platform}_${arch}`;

export type Source = {
  /** Where the file is put, relative to the cache folder, if not in the asset's own place. */
  file?: string;
} & (
  | { kind: "present"; paths: string[] }
  /**
   * `sums`: URL of a file that holds the SHA-256, alone or as `sum  name` lines. `member`: the file wanted of a
   * .tar.gz.
   */
  | { kind: "download"; url: string; sums?: string; member?: string }
  | { kind: "go"; module: string; version: string; command: string; ldflags?: string }
  /** A file of a Go module as it is published. */
  | { kind: "module"; module: string; version: string; path: string }
  /** A file of a binary package, unpacked without installing it. The version may be another one. */
  | { kind: "debian"; package: string; path: string }
);

export interface Asset {
  name: string;
  version: string;
  file: string;
  /** Says what is lost without it. */
  use: string;
  /** How the program tells its version; absent for plugins, which tell it to Terraform only. */
  tells?: { args: string[]; pattern: RegExp };
  sources: Source[];
}

const binary = (name: string): string => join("bin", name);

type Of<Kind> = Omit<Extract<Source, { kind: Kind }>, "kind" | "file">;
/** A program: from this machine, its vendor, or Go; then from `others`. */
const program = (
  { name, ...asset }: Pick<Asset, "name" | "version" | "use" | "tells">,
  download: Of<"download">,
  go: Omit<Of<"go">, "version">,
  ...others: Source[]
): Asset => ({
  ...{ name, ...asset, file: binary(name) },
  sources: [
    { kind: "present", paths: onPath(name) },
    { kind: "download", ...download },
    { kind: "go", version: `v${asset.version}`, ...go },
    ...others,
  ],
});

function kubernetes(name: string, use: string): Asset {
  const version = versions.kubernetes;
  const [major, minor] = version.split(".");
  const tell = ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"];
  const ldflags = (v: string, at: string[]) =>
    at
      .map(
        (p) =>
          `-X ${p}.gitVersion=v${v} -X ${p}.gitMajor=${major} -X ${p}.gitMinor=${minor} -X ${p}.gitTreeState=clean`,
      )
      .join(" ");
  const url = `https://dl.k8s.io/release/v${version}/bin/linux/${arch}/${name}`;
  const tells =
    name === "kubectl"
      ? { args: ["version", "--client"], pattern: /Client Version:.*?v(\d+\.\d+\.\d+)/ }
      : { args: ["--version"], pattern: /Kubernetes v(\S+)/ };
  const command = `k8s.io/kubernetes/cmd/${name}`;
  return program(
    { name, version, use, tells },
    { url, sums: `${url}.sha256` },
    { module: "k8s.io/kubernetes", command, ldflags: ldflags(version, tell) },
  );
}

/** What test:nodes runs its containers with. Debian's is older, and does as well. */
function containerd(name: "containerd" | "containerd-shim-runc-v2" | "ctr", ask: string): Asset {
  const version = versions.containerd;
  const module = "github.com/containerd/containerd/v2";
  const url = `https://github.com/containerd/containerd/releases/download/v${version}/containerd-${version}-linux-${arch}.tar.gz`;
  return program(
    {
      ...{ name, version, use: "npm run test:nodes" },
      tells: { args: [ask], pattern: /(?:containerd\S*\s+|Version:\s+)v?(\d+\.\d+\.\S+)/ },
    },
    { url, sums: `${url}.sha256sum`, member: `bin/${name}` },
    { module, command: `${module}/cmd/${name}`, ldflags: `-X ${module}/version.Version=${version}` },
    { kind: "debian", package: "containerd", path: `usr/bin/${name}` },
  );
}

function provider(short: "kubernetes" | "helm" | "google", major: string): Asset {
  const version = versions[`provider-${short}`];
  const name = `terraform-provider-${short}`;
  const folder = `registry.terraform.io/hashicorp/${short}`;
  const inFolder = `${folder}/${version}/${unit}/${name}_v${version}`;
  const places = [
    process.env.TF_PLUGIN_CACHE_DIR,
    join(homedir(), ".terraform.d/plugins"),
    "/usr/local/share/terraform/plugins",
  ];
  const binaries = [inFolder, `${inFolder}_x5`];
  const module = `github.com/hashicorp/${name}/${major}`;
  const zip = `${name}_${version}_${unit}.zip`;
  const at = `https://releases.hashicorp.com/${name}/${version}`;
  return {
    name: `provider-${short}`,
    version,
    use: "npm run test:terraform with the real provider",
    file: join("mirror", inFolder),
    sources: [
      { kind: "present", paths: places.flatMap((place) => (place ? binaries.map((file) => join(place, file)) : [])) },
      // The mirror takes the vendor's archive as it is (Terraform's packed layout).
      {
        kind: "download",
        url: `${at}/${zip}`,
        sums: `${at}/${name}_${version}_SHA256SUMS`,
        file: join("mirror", folder, zip),
      },
      {
        kind: "go",
        module,
        version: `v${version}`,
        command: module,
        ldflags: `-X main.version=${version} -X main.Version=${version}`,
      },
    ],
  };
}

function tofu(): Asset {
  const { tofu: version } = versions;
  const module = "github.com/opentofu/opentofu";
  const releases = `https://${module}/releases/download/v${version}`;
  return program(
    {
      ...{ name: "tofu", version, use: "npm run verify:terraform with OpenTofu" },
      tells: { args: ["version"], pattern: /OpenTofu v(\S+)/ },
    },
    {
      url: `${releases}/tofu_${version}_${unit}.tar.gz`,
      sums: `${releases}/tofu_${version}_SHA256SUMS`,
      member: "tofu",
    },
    { module, command: `${module}/cmd/tofu`, ldflags: `-X ${module}/version.dev=no` },
  );
}

function helm(): Asset {
  const { helm: version } = versions;
  const module = "helm.sh/helm/v3";
  const folder = unit.replace("_", "-");
  const url = `https://get.helm.sh/helm-v${version}-${folder}.tar.gz`;
  return program(
    {
      ...{ name: "helm", version, use: "npm run test:cluster: the chart, installed" },
      tells: { args: ["version", "--short"], pattern: /^v(\d+\.\d+\.\d+)/ },
    },
    { url, sums: `${url}.sha256sum`, member: `${folder}/helm` },
    { module, command: `${module}/cmd/helm`, ldflags: `-X ${module}/internal/version.version=v${version}` },
  );
}

/** Definitions of the kinds that the monitoring chart uses. */
function definitions(name: string, product: "prometheus-operator" | "prometheus-engine", path: string): Asset {
  const version = versions[product];
  const repository = `${product === "prometheus-engine" ? "GoogleCloudPlatform" : product}/${product}`;
  return {
    name,
    version,
    use: "npm run test:cluster: the chart, installed",
    file: join("definitions", `${name}.yaml`),
    sources: [
      { kind: "download", url: `https://raw.githubusercontent.com/${repository}/v${version}/${path}` },
      { kind: "module", module: `github.com/${repository}`, version: `v${version}`, path },
    ],
  };
}

export function assets(): Asset[] {
  const { etcd, kwok } = versions;
  const operatorCrds = "example/prometheus-operator-crd/monitoring.coreos.com";
  const archive = `etcd-v${etcd}-linux-${arch}`;
  const etcdReleases = `https://github.com/etcd-io/etcd/releases/download/v${etcd}`;
  const suites = "npm run test:cluster";
  return [
    program(
      {
        ...{ name: "etcd", version: etcd, use: suites },
        tells: { args: ["--version"], pattern: /etcd Version: (\S+)/ },
      },
      {
        url: `${etcdReleases}/${archive}.tar.gz`,
        sums: `${etcdReleases}/SHA256SUMS`,
        member: `${archive}/etcd`,
      },
      { module: "go.etcd.io/etcd/server/v3", command: "go.etcd.io/etcd/server/v3" },
      { kind: "debian", package: "etcd-server", path: "usr/bin/etcd" },
    ),
    kubernetes("kube-apiserver", suites),
    kubernetes("kube-controller-manager", `${suites}: suites in which pods are made`),
    kubernetes("kube-scheduler", `${suites}: suites in which pods are placed`),
    kubernetes("kubectl", "nothing but a person's convenience"),
    kubernetes("kubelet", "npm run test:nodes"),
    kubernetes("kube-proxy", "npm run test:nodes"),
    containerd("containerd", "--version"),
    containerd("containerd-shim-runc-v2", "-v"),
    containerd("ctr", "--version"),
    program(
      {
        ...{ name: "kwok", version: kwok, use: `${suites}: suites in which pods run` },
        tells: { args: ["--version"], pattern: /version v?(\d\S*)/ },
      },
      { url: `https://github.com/kubernetes-sigs/kwok/releases/download/v${kwok}/kwok-linux-${arch}` },
      {
        module: "sigs.k8s.io/kwok",
        command: "sigs.k8s.io/kwok/cmd/kwok",
        ldflags: `-X sigs.k8s.io/kwok/pkg/consts.Version=v${kwok}`,
      },
    ),
    tofu(),
    helm(),
    definitions("google-monitoring-kinds", "prometheus-engine", "manifests/setup.yaml"),
    definitions("pod-monitor-kind", "prometheus-operator", `${operatorCrds}_podmonitors.yaml`),
    definitions("prometheus-rule-kind", "prometheus-operator", `${operatorCrds}_prometheusrules.yaml`),
    provider("kubernetes", "v2"),
    provider("helm", "v3"),
    provider("google", "v6"),
  ];
}

function onPath(name: string): string[] {
  const folders = [process.env.KUBEBUILDER_ASSETS, ...(process.env.PATH ?? "").split(delimiter)];
  return [...new Set(folders.flatMap((folder) => (folder ? [join(folder, name)] : [])))];
}

export function sourceName(source: Source): string {
  switch (source.kind) {
    case "present":
      return "this machine";
    case "download":
      return source.url;
    case "go":
      return `go build ${source.command}@${source.version}`;
    case "module":
      return `Go module ${source.module}@${source.version}`;
    case "debian":
      return `Debian package ${source.package}`;
  }
}
