/**
 * The alert rules: each has a runbook, uses metrics that exist, fires when it should and is quiet when it should
 * (promtool, the real evaluator).
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parse, stringify } from "yaml";

const root = resolve(__dirname, "../../..");
const chart = join(root, "constructs/monitoring/chart");
const rulesFile = join(chart, "files/alerts.yaml");
interface Rule {
  alert: string;
  expr: string;
  for?: string;
  labels: { severity: string };
  annotations: { summary: string; description: string; runbook_url: string };
}
const rules = (parse(readFileSync(rulesFile, "utf8")) as { groups: { rules: Rule[] }[] }).groups.flatMap(
  (group) => group.rules,
);
const dashboard = readFileSync(join(chart, "files/dashboard.json"), "utf8");

/** Anchors of a page's headings, as GitHub makes them. */
const anchorsOf = (markdown: string): string[] =>
  [...markdown.matchAll(/^#+ (.+)$/gm)].map((match) =>
    (match[1] ?? "")
      .toLowerCase()
      .replace(/[^a-z0-9 -]/g, "")
      .replaceAll(" ", "-"),
  );

/** Metrics that the daemons export, from their sources. */
function exported(folder = join(root, "daemons")): Set<string> {
  const names = new Set<string>();
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) exported(path).forEach((name) => names.add(name));
    else if (path.endsWith(".ts"))
      for (const match of readFileSync(path, "utf8").matchAll(/"(tog_[a-z_]+)"/g)) names.add(match[1] ?? "");
  }
  return names;
}

test("the runbooks' list names every alert", () => {
  const list = readFileSync(join(root, "docs/runbooks/README.md"), "utf8");
  expect(rules.filter((rule) => !list.includes(`\`${rule.alert}\``)).map((rule) => rule.alert)).toEqual([]);
});

test("there are at least twelve alerts, each with severity, words and a runbook that exists", () => {
  expect(rules.length).toBeGreaterThanOrEqual(12);
  for (const rule of rules) {
    expect(["warning", "critical"]).toContain(rule.labels.severity);
    expect(rule.annotations.summary).toContain("{{ $labels.");
    expect({ alert: rule.alert, words: rule.annotations.description.length > 20 }).toEqual({
      alert: rule.alert,
      words: true,
    });
    const [page = "", anchor] = rule.annotations.runbook_url.split("#");
    expect(page).toMatch(/^docs\/runbooks\/[a-z-]+\.md$/);
    const anchors = existsSync(join(root, page)) ? anchorsOf(readFileSync(join(root, page), "utf8")) : [];
    expect({ alert: rule.alert, anchor, anchors }).toMatchObject({
      anchors: expect.arrayContaining(anchor ? [anchor] : [expect.anything()]) as unknown,
    });
  }
});

test("alerts and dashboard use only metrics that the daemons export", () => {
  const known = exported();
  const used = [...`${rules.map((rule) => rule.expr).join("\n")}\n${dashboard}`.matchAll(/tog_[a-z_]+/g)].map((match) =>
    match[0].replace(/_bucket$/, ""),
  );
  expect([...new Set(used)].filter((name) => !known.has(name))).toEqual([]);
});

/** Series per case: name -> promtool's notation. Every minute from 0; evaluated at 40 minutes. */
const s = (metric: string, labels: Record<string, string>, values: string) => ({
  series: `${metric}{${Object.entries({ baker: "alice", ...labels })
    .map(([name, value]) => `${name}="${value}"`)
    .join(",")}}`,
  values,
});
const pods = ["alice-as-0", "alice-as-1"] as const;
const state = (active: number[]) =>
  pods.map((pod, i) => s("tog_elector_state", { pod, state: "active" }, `${active.includes(i) ? 1 : 0}x40`));
const slots = (kind: string, values: string) =>
  pods.map((pod) =>
    s("tog_sidecar_slots_total", { pod, delegate: "tz1", kind, result: "missed", cause: "handover" }, values),
  );
const dalSlots = (missed: string, attested: string) =>
  pods.flatMap((pod) => [
    s("tog_sidecar_dal_slots_total", { pod, delegate: "tz1", result: "missed" }, missed),
    s("tog_sidecar_dal_slots_total", { pod, delegate: "tz1", result: "attested" }, attested),
  ]);
const dalNode = (well: string, ready: string) => [
  s("tog_sidecar_dal_well", { pod: "a" }, well),
  s("tog_sidecar_ready", { pod: "a" }, ready),
  s("tog_sidecar_dal_well", { pod: "b" }, "1x40"),
  s("tog_sidecar_ready", { pod: "b" }, "1x40"),
];
type Series = { series: string; values: string };
const cases: Record<string, { fires: Series[]; quiet: Series[]; quietToo?: Series[] }> = {
  TezosBakerNoMaster: { fires: state([]), quiet: state([0]) },
  TezosBakerNobodyBakes: {
    fires: [s("tog_supervisor_daemon_running", { pod: "a", daemon: "octez-baker" }, "1x35 0x5")],
    quiet: [
      s("tog_supervisor_daemon_running", { pod: "a", daemon: "octez-baker" }, "1x35 0x5"),
      s("tog_supervisor_daemon_running", { pod: "b", daemon: "octez-baker" }, "0x35 1x5"),
    ],
  },
  TezosBakerTwoMasters: { fires: state([0, 1]), quiet: state([1]) },
  TezosBakerMissedAttestations: { fires: slots("attestation", "0+1x40"), quiet: slots("attestation", "0x20 1x20") },
  TezosBakerMissedBlock: { fires: slots("block", "0x20 1x20"), quiet: slots("block", "0x40") },
  TezosBakerHeadOld: {
    fires: [s("tog_sidecar_head_age_seconds", { pod: "a" }, "200x40")],
    quiet: [s("tog_sidecar_head_age_seconds", { pod: "a" }, "6x40")],
  },
  TezosBakerFewPeers: {
    fires: [s("tog_sidecar_connections", { pod: "a" }, "2x40")],
    quiet: [s("tog_sidecar_connections", { pod: "a" }, "30x40")],
  },
  TezosBakerDalNode: {
    fires: dalNode("1x20 0x20", "1x40"),
    quiet: dalNode("1x38 0x2", "1x40"),
    // A first sync.
    quietToo: dalNode("0x40", "0x40"),
  },
  TezosBakerDalSlotsMissed: {
    fires: dalSlots("0+3x40", "0+7x40"),
    quiet: dalSlots("0+1x40", "0+9x40"),
    // One of four in an hour.
    quietToo: dalSlots("0x20 1x20", "0x15 1x5 2x10 3x10"),
  },
  TezosBakerTunnelDown: {
    fires: [s("tog_gate_endpoint_up", { pod: "a", signer: "home1", zone: "z" }, "0x40")],
    quiet: [s("tog_gate_endpoint_up", { pod: "a", signer: "home1", zone: "z" }, "1x40")],
  },
  TezosBakerKeyWithoutSigner: {
    fires: [
      s("tog_gate_keys_without_signer", { pod: "a" }, "0x20 1x20"),
      s("tog_gate_signers_answering", { pod: "a" }, "1x40"),
    ],
    quiet: [
      s("tog_gate_keys_without_signer", { pod: "a" }, "0x35 1x5"),
      s("tog_gate_signers_answering", { pod: "a" }, "1x40"),
    ],
    // Another alert speaks of it.
    quietToo: [
      s("tog_gate_keys_without_signer", { pod: "a" }, "1x40"),
      s("tog_gate_signers_answering", { pod: "a" }, "0x40"),
    ],
  },
  TezosBakerNoSigner: {
    fires: [s("tog_gate_signers_answering", { pod: "a" }, "0x40")],
    quiet: [s("tog_gate_signers_answering", { pod: "a" }, "1x40")],
  },
  TezosBakerConfigRejected: {
    fires: [s("tog_config_rejected", { pod: "a" }, "1x40")],
    quiet: [s("tog_config_rejected", { pod: "a" }, "0x20 1 0x19")],
  },
  TezosBakerWatermarkRefusal: {
    fires: [
      s("tog_gate_requests_total", { pod: "a", kind: "attestation", result: "refused", reason: "conflict" }, "0+1x40"),
    ],
    quiet: [
      s("tog_gate_requests_total", { pod: "a", kind: "attestation", result: "signed", reason: "above" }, "0+10x40"),
      s(
        "tog_gate_requests_total",
        { pod: "a", kind: "attestation", result: "refused", reason: "conflict" },
        "0x20 2x20",
      ),
    ],
  },
  TezosBakerWatermarkLost: {
    fires: [s("tog_gate_keys_lost", { pod: "a" }, "1x40")],
    quiet: [s("tog_gate_keys_lost", { pod: "a" }, "0x40")],
  },
  TezosBakerNonceUnreplicated: {
    fires: [s("tog_nonce_exposer_missing", { pod: "a" }, "1x40")],
    quiet: [s("tog_nonce_exposer_missing", { pod: "a" }, "0x38 1 0")],
  },
  TezosBakerNonceFileBroken: {
    fires: [s("tog_nonce_exposer_file_broken", { pod: "a" }, "0x38 1x2")],
    quiet: [
      s("tog_nonce_exposer_file_broken", { pod: "a" }, "0x40"),
      s("tog_nonce_importer_quarantined_total", { pod: "a" }, "3x40"),
    ],
  },
  TezosBakerFlapping: {
    fires: [s("tog_elector_acquisitions_total", { pod: "a", cause: "expired" }, "0+1x40")],
    quiet: [s("tog_elector_acquisitions_total", { pod: "a", cause: "expired" }, "0x20 1x20")],
  },
  TezosBakerCrashLoop: {
    fires: [s("tog_supervisor_crash_looping", { pod: "a", daemon: "octez-baker" }, "1x40")],
    quiet: [s("tog_supervisor_crash_looping", { pod: "a", daemon: "octez-baker" }, "0x40")],
  },
  TezosBakerNoStandby: {
    fires: [...state([0]), s("tog_elector_member_eligible", { pod: pods[0], member: pods[1] }, "0x40")],
    // A standby knows nobody either, once the master is alone.
    quiet: [
      ...state([0]),
      s("tog_elector_member_eligible", { pod: pods[0], member: pods[1] }, "1x40"),
      s("tog_elector_member_eligible", { pod: pods[1], member: pods[0] }, "0x40"),
    ],
  },
  TezosBakerDiskFull: {
    fires: [s("tog_supervisor_disk_used_ratio", { pod: "a" }, "0.81x40")],
    quiet: [s("tog_supervisor_disk_used_ratio", { pod: "a" }, "0.5x40")],
  },
  TezosBakerApiSlow: {
    fires: [
      s("tog_elector_renewal_seconds_bucket", { pod: "a", le: "0.5" }, "0+1x40"),
      s("tog_elector_renewal_seconds_bucket", { pod: "a", le: "1" }, "0+60x40"),
      s("tog_elector_renewal_seconds_bucket", { pod: "a", le: "+Inf" }, "0+60x40"),
    ],
    quiet: [
      s("tog_elector_renewal_seconds_bucket", { pod: "a", le: "0.5" }, "0+60x40"),
      s("tog_elector_renewal_seconds_bucket", { pod: "a", le: "+Inf" }, "0+60x40"),
    ],
  },
  TezosBakerCertificateEnds: {
    fires: [s("tog_elector_ca_end_timestamp_seconds", { pod: "a" }, "2000000x40")],
    quiet: [s("tog_elector_ca_end_timestamp_seconds", { pod: "a" }, "4000000000x40")],
  },
  TezosBakerHostKeyOld: {
    fires: [{ series: 'kube_secret_created{secret="alice-signer-link-host-key"}', values: "-40000000x40" }],
    quiet: [{ series: 'kube_secret_created{secret="alice-signer-link-host-key"}', values: "0x40" }],
  },
};

test("every alert has a case that fires and one that is quiet", () => {
  expect(Object.keys(cases).sort()).toEqual(rules.map((rule) => rule.alert).sort());
});

const promtool = spawnSync("promtool", ["--version"]).status === 0;
if (!promtool) console.warn("skipped: the alerts' cases: promtool is not installed (apt-get install prometheus)");
(promtool ? test : test.skip)("promtool: each alert fires in its case and is quiet in the other", () => {
  const folder = mkdtempSync(join(tmpdir(), "tog-alerts-"));
  const file = join(folder, "cases.yaml");
  // Cases in which the series themselves end: the pods are gone.
  const gone = [
    {
      alert: "TezosBakerNobodyBakes",
      input_series: [s("tog_supervisor_daemon_running", { pod: "a", daemon: "d" }, "1x30 stale")],
      firing: true,
    },
    {
      alert: "TezosBakerNobodyBakes",
      input_series: [s("tog_supervisor_daemon_running", { pod: "a", daemon: "d" }, "0x40")],
      firing: false,
    },
  ];
  const groups = Object.entries(cases)
    .flatMap(([alert, { fires, quiet, quietToo }]) => [
      { input_series: fires, alert, firing: true },
      ...[quiet, quietToo ?? []].map((input_series) => ({ input_series, alert, firing: false })),
    ])
    .concat(gone);
  writeFileSync(
    file,
    stringify({
      rule_files: [rulesFile],
      tests: groups.map(({ input_series, alert, firing }) => ({
        interval: "1m",
        input_series,
        promql_expr_test: [
          {
            expr: `clamp_max(count(ALERTS{alertname="${alert}",alertstate="firing"}), 1)`,
            eval_time: "40m",
            exp_samples: firing ? [{ labels: "{}", value: 1 }] : [],
          },
        ],
      })),
    }),
  );
  const result = spawnSync("promtool", ["test", "rules", file], { encoding: "utf8" });
  rmSync(folder, { recursive: true, force: true });
  expect(`${result.stdout}${result.stderr}`).toContain("SUCCESS");
  expect(result.status).toBe(0);
});
