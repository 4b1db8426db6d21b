/**
 * `npm run scan`: checkov over every example in both modes, as Terraform JSON and as Kubernetes manifests. What it
 * reports must be in docs/decisions/2026-11-23-hardening-deviations.md, a row a rule with its reason. Exit code 1 for
 * anything else, 2 where checkov is missing (`pip install checkov`; TOG_CHECKOV names another program than the one on
 * PATH).
 */
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Handed } from "../configuration/tfvars";
import { synthesize } from "../main";
import { toYaml } from "../manifests/kubernetes-objects";
import { manifestsOf } from "../scripts/manifests";

const root = resolve(__dirname, "..");
const deviations = join(root, "docs/decisions/2026-11-23-hardening-deviations.md");
const checkov = process.env.TOG_CHECKOV ?? "checkov";

export interface Finding {
  rule: string;
  name: string;
  /** Example, mode, framework and resource. */
  where: string;
}
interface Report {
  summary?: { passed: number; failed: number; checkov_version: string };
  results?: { failed_checks: { check_id: string; check_name: string; resource: string }[] };
}

/** The rules that the table of deviations names, in its rows' first cells. */
export const acceptedRules = (markdown: string): Set<string> =>
  new Set(
    markdown
      .split("\n")
      .filter((line) => line.startsWith("|"))
      .flatMap((line) => [...(line.split("|")[1] ?? "").matchAll(/CKV2?_[A-Z0-9]+_\d+/g)].map(([rule]) => rule)),
  );

/** @throws Error where its output is none of a scan */
async function scan(folder: string, framework: "kubernetes" | "terraform_json"): Promise<Report> {
  const args = ["-d", folder, "--framework", framework, "-o", "json", "--quiet", "--compact", "--skip-download"];
  // Our folder is below a hidden one.
  const env = { ...process.env, CKV_IGNORE_HIDDEN_DIRECTORIES: "false" };
  const child = spawn(checkov, args, { stdio: ["ignore", "pipe", "pipe"], env });
  let [out, err] = ["", ""];
  child.stdout.on("data", (data: Buffer) => (out += data.toString()));
  child.stderr.on("data", (data: Buffer) => (err += data.toString()));
  await new Promise((done) => child.once("close", done));
  try {
    return JSON.parse(out) as Report;
  } catch {
    throw new Error(`checkov -d ${folder}: no report\n${out.slice(0, 500)}\n${err.slice(-1500)}`);
  }
}

async function main(): Promise<number> {
  if (spawnSync(checkov, ["--version"]).status !== 0) {
    console.error("scan: no checkov on PATH; pip install checkov, or name it with TOG_CHECKOV");
    return 2;
  }
  const accepted = acceptedRules(readFileSync(deviations, "utf8"));
  const digest = `@sha256:${"0".repeat(64)}`;
  const images = Object.fromEntries(
    ["runtime", "baker", "signer_link"].map((name) => [name, `example.org/${name}${digest}`]),
  );
  const findings: Finding[] = [];
  let passed = 0;
  for (const example of readdirSync(join(root, "examples")).sort())
    for (const flag of [false, true]) {
      const mode = flag ? "active-standby" : "solo";
      const work = join(root, ".cache/scan", `${example}-${mode}`);
      rmSync(work, { recursive: true, force: true });
      mkdirSync(join(work, "kubernetes"), { recursive: true });
      const folder = join(root, "examples", example);
      const options = [
        { var: `experimental_active_standby_mode=${flag}` },
        { var: `images=${JSON.stringify(images)}` },
      ];
      const handed: Handed = { environment: {}, options };
      await synthesize({ folder, outdir: join(work, "terraform"), handed });
      writeFileSync(
        join(work, "kubernetes/manifests.yaml"),
        toYaml(await manifestsOf(folder, handed, () => undefined)),
      );
      const scans = [["kubernetes", "kubernetes"] as const, ["terraform", "terraform_json"] as const];
      for (const [part, framework] of scans) {
        const { summary, results } = await scan(join(work, part), framework);
        if (!summary || summary.passed === 0) throw new Error(`checkov saw nothing in ${join(work, part)}`);
        passed += summary.passed;
        for (const { check_id: rule, check_name: name, resource } of results?.failed_checks ?? [])
          findings.push({ rule, name, where: `${example} ${mode} ${part}: ${resource}` });
        console.log(
          `${example} ${mode} ${part}: ${summary.passed} passed, ${summary.failed} failed (checkov ${summary.checkov_version})`,
        );
      }
    }
  const rules = new Map(findings.map((finding) => [finding.rule, finding]));
  for (const [rule, { name }] of [...rules].sort())
    console.log(
      `${accepted.has(rule) ? "accepted" : "FINDING "} ${rule} ${name}: ${findings.filter((one) => one.rule === rule).length}`,
    );
  const open = findings.filter(({ rule }) => !accepted.has(rule));
  for (const { rule, where } of open) console.log(`  ${rule} ${where}`);
  console.log(
    `${passed} checks passed, ${findings.length} failures of ${rules.size} rules, ${open.length} not in ${deviations.slice(root.length + 1)}`,
  );
  return open.length > 0 ? 1 : 0;
}

if (require.main === module)
  main().then(
    (code) => void (process.exitCode = code),
    (error: unknown) => {
      console.error(error instanceof Error ? error.message : error);
      process.exitCode = 1;
    },
  );
