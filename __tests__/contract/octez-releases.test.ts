/** The table of Octez releases is one fact in two places: the code, and the page that people read at an upgrade. */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { defaultOctezVersion, octezReleases } from "../../contract/images";

test("the runbook of an upgrade has the releases of the table, with their protocols, and the default is one of them", () => {
  const page = readFileSync(resolve(__dirname, "../../docs/runbooks/octez-upgrade.md"), "utf8");
  const rows = [...page.matchAll(/^ *\| (v\d+\.\d+) \| ([^|]*) \|/gm)].map(([, release, protocols]) => [
    release,
    protocols,
  ]);
  expect(rows).toEqual(Object.entries(octezReleases).map(([release, protocols]) => [release, protocols.join(", ")]));
  expect(octezReleases).toHaveProperty([defaultOctezVersion]);
});
