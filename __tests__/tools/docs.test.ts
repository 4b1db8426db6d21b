/** Generated documents say what the code says. */
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
    "| `bakers.<name>.signers.<name>.port` | number | **required** |",
    "| `experimental_active_standby_mode` | true or false | `false` |",
    "| `timings.lease_seconds` | `6` |",
    "| `secrets.signer_link_host_key` | text |",
  ])
    expect(reference).toContain(row);
});
