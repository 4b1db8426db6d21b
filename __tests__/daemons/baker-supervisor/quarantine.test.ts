import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { brokenWatermarks, quarantineBroken } from "../../../daemons/baker-supervisor/quarantine";

test("files that Octez could not read are moved aside with their content, all others stay", async () => {
  const folder = mkdtempSync(join(tmpdir(), "tog-quarantine-"));
  try {
    const files: Record<string, string> = {
      NetXdQprcVkpa_highwatermarks: '{"blocks":[{"delegate":"tz1',
      NetXdQprcVkpa_stateful_nonces: "",
      NetXdQprcVkpa_nonces: "[]",
      NetXdQprcVkpa_orphaned_nonces: '{"not":"a list"}',
      NetXsqzbfFen_highwatermarks: '{"blocks":[],"preattestations":[],"attestations":[]}',
      secret_keys: "not json",
      wallet_lock: "",
    };
    for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
    expect(await brokenWatermarks(folder)).toBe(true);
    const moved = await quarantineBroken(folder, 1234);
    expect(moved.sort()).toEqual([
      "NetXdQprcVkpa_highwatermarks",
      "NetXdQprcVkpa_orphaned_nonces",
      "NetXdQprcVkpa_stateful_nonces",
    ]);
    expect(readdirSync(folder).sort()).toEqual([
      "NetXdQprcVkpa_nonces",
      "NetXsqzbfFen_highwatermarks",
      "quarantine",
      "secret_keys",
      "wallet_lock",
    ]);
    expect(readFileSync(join(folder, "quarantine", "NetXdQprcVkpa_highwatermarks.1234"), "utf8")).toBe(
      files.NetXdQprcVkpa_highwatermarks,
    );
    expect(await quarantineBroken(folder, 1235)).toEqual([]);
    expect(await brokenWatermarks(folder)).toBe(false);
    expect(await brokenWatermarks(join(folder, "none"))).toBe(false);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
