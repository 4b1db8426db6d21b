/** The configuration of the cluster of nodes keeps the rules, so that a new rule is seen without root and kubelets. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { manifestsFor } from "../../../lab/nodes/configuration";

test.each([true, false])("with the flag %s it gives the objects of one baker", async (flag) => {
  const folder = mkdtempSync(join(tmpdir(), "tog-nodes-configuration-"));
  try {
    const objects = await manifestsFor(folder, {
      flag,
      delegate: "tz1Qi1VXJsKxxbB98TbZHcp2K6USAcTRYjD5",
      sshPublicKey: `ssh-ed25519 ${"A".repeat(68)}`,
      snapshot: { url: "http://203.0.113.1/rolling", blockHash: `BL${"1".repeat(49)}` },
      images: { runtime: "runtime:1", baker: "baker:1", signer_link: "link:1", octez: "octez:1" },
    });
    const sets = objects.filter(({ kind }) => kind === "StatefulSet").map(({ metadata }) => metadata.name);
    expect(sets).toEqual([flag ? "alice-as" : "alice-solo"]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
