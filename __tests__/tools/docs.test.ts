/** Generated documents say what the code says. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { documents } from "../../tools/docs";

test("no generated document is stale (npm run docs)", async () => {
  const all = await documents();
  expect(all.filter(({ now, wanted }) => now !== wanted).map(({ file }) => file)).toEqual([]);
  expect(all.map(({ file }) => file)).toContain("docs/configuration.md");
});

test("the reference of the configuration names every key with its default", async () => {
  const reference = (await documents()).find(({ file }) => file === "docs/configuration.md")?.wanted ?? "";
  for (const row of [
    '| `machine_type` | text | `"e2-highmem-4"` |',
    "| `bakers.<name>.signers.<name>.port` | number |  |",
    "| `experimental_active_standby_mode` | true or false | `false` |",
    "| `timings.lease_seconds` | `6` |",
    "| `secrets.signer_link_host_key` | text |",
  ])
    expect(reference).toContain(row);
});

test("the reference of the metrics names every metric that the alerts and the sources use", async () => {
  const reference = (await documents()).find(({ file }) => file === "docs/metrics.md")?.wanted ?? "";
  const named = new Set([...reference.matchAll(/^\| `(tog_\w+)`/gm)].map(([, name]) => name ?? ""));
  const folder = resolve(__dirname, "../..");
  const used = execFileSync("git", ["grep", "-ohE", '"tog_[a-z_]+"', "--", "daemons"], {
    cwd: folder,
    encoding: "utf8",
  });
  const alerts = readFileSync(join(folder, "constructs/monitoring/chart/files/alerts.yaml"), "utf8");
  const wanted = [...`${used} ${alerts}`.matchAll(/tog_[a-z_]+/g)].map(([name]) =>
    name.replace(/_(bucket|sum|count)$/, ""),
  );
  expect([...new Set(wanted)].filter((name) => !named.has(name))).toEqual([]);
});

test("each event in the reference has a sentence", async () => {
  const reference = (await documents()).find(({ file }) => file === "docs/metrics.md")?.wanted ?? "";
  const rows = reference.slice(reference.indexOf("## Events")).match(/^\| .+ \|$/gm) ?? [];
  expect(rows.length).toBeGreaterThan(50);
  expect(rows.filter((row) => /\|\s*\|$/.test(row))).toEqual([]);
});
