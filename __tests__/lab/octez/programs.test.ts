/** Finding an installed Octez, and saying what is missing of one. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findOctez, octezPrograms } from "../../../lab/octez/programs";

const folder = mkdtempSync(join(tmpdir(), "find-octez-"));
afterAll(() => rmSync(folder, { recursive: true }));

function install(name: string, programs: readonly string[], version: string, mode = 0o755): string {
  const path = join(folder, name);
  mkdirSync(path);
  for (const program of programs) writeFileSync(join(path, program), `#!/bin/sh\n${version}\n`, { mode });
  return path;
}
const says = (version: string) => `echo '8ca4f2a4 (2026-07-01 12:00:00 +0200) (Octez ${version})'`;
const complete = install("complete", octezPrograms, says("25.1"));

test("a folder that was named, TOG_OCTEZ and the PATH, in this order", () => {
  const other = install("other", octezPrograms, says("25.2"));
  const of = (...args: Parameters<typeof findOctez>) => {
    const found = findOctez(...args);
    return typeof found === "string" ? found : [found.version, found.paths["octez-dal-node"], found.warning];
  };
  const first = ["25.1", join(complete, "octez-dal-node"), undefined];
  expect(of(complete, { TOG_OCTEZ: other, PATH: other })).toEqual(first);
  expect(of(undefined, { TOG_OCTEZ: complete, PATH: other })).toEqual(first);
  expect(of(undefined, { TOG_OCTEZ: "", PATH: `/nowhere:${complete}:${other}` })).toEqual(first);
});
test("what is missing is named, with the version of what is there", () => {
  const half = install("half", ["octez-node", "octez-client", "octez-baker", "octez-signer"], says("25.1"));
  expect(findOctez(half, {})).toBe(
    `not in ${half}: octez-accuser, octez-dal-node ` +
      "(there is Octez 25.1: octez-node, octez-client, octez-baker, octez-signer)",
  );
  expect(findOctez(undefined, { PATH: "/nowhere" })).toBe(`not on the PATH: ${octezPrograms.join(", ")}`);
});
test("a file that may not be run is no program, and one that cannot run is named", () => {
  expect(findOctez(install("data", octezPrograms, says("25.1"), 0o644), {})).toMatch(/^not in .*: octez-node, /);
  expect(findOctez(install("broken", octezPrograms, "exit 7"), {})).toMatch(/^octez-node in .* does not run: /);
});
test.each(["26.0", "24.3", "0.0+dev"])("version %s is warned about", (version) => {
  const found = findOctez(install(version, octezPrograms, says(version)), {});
  expect(found).toMatchObject({
    version,
    warning: expect.stringMatching(/^Octez \S+ in .*: the laboratory was written for version 25$/) as unknown,
  });
});
