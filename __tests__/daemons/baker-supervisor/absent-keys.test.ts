/** Without a gate: octez-baker's own signer is asked. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import * as http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { watermarkName } from "../../../contract/names";
import { AbsentKeys } from "../../../daemons/baker-supervisor/absent-keys";
import type { DaemonConfig } from "../../../daemons/runtime/config";
import { solidBakerFile } from "../../helpers/baker-file";

const next = "tz4T5ke56J3aKoFW6dTdLuuQtQF1vN65CUoh";
const { keys } = solidBakerFile();
const file = solidBakerFile({
  keys: [...keys, { address: next, alias: "consensus-2", watermark: watermarkName(next), signers: ["home1"] }],
});
const folder = mkdtempSync(join(tmpdir(), "absent-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test.each([
  ["says that it does not hold it", 404, "run alice --keep-alive"],
  ["fails", 500, "run alice consensus-2 --keep-alive"],
  ["does not answer", undefined, "run alice consensus-2 --keep-alive"],
])("a next key is left out in solo where the signer %s (%s): %s", async (_title, status, expected) => {
  const server = http.createServer((request, response) => {
    if (status === undefined) return void request.socket.destroy();
    const known = request.url === `/alice/keys/${keys[0]?.address}`;
    response.writeHead(known ? 200 : status).end("{}");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  try {
    writeFileSync(join(folder, "public_keys"), "[");
    const env = { TOG_CLIENT_DIR: folder } as DaemonConfig["env"];
    const command = ["octez-baker", "-R", `http://127.0.0.1:${port}/alice/`, "run", "alice", "consensus-2"];
    const absent = new AbsentKeys({ env, file }, () => command, new AbortController().signal);
    await absent.look();
    expect(absent.without(["run", "alice", "consensus-2", "--keep-alive"]).join(" ")).toBe(expected);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});
