/**
 * Init command of the hot signer (test networks only): from a mounted secret, one file per key, it writes the client
 * folder of octez-signer, which takes keys by itself only on its command line. Guarantees that a key leaves the secret
 * for that folder alone, with mode 0600, and that each is the key of the address that names its file. Arguments: folder
 * of the secret, folder of octez-signer.
 */
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { runDaemon } from "../runtime/lifecycle";
import { createLog } from "../runtime/log";
import { clientFiles } from "./client-files";

export function main(): Promise<void> {
  const [from = "", to = ""] = process.argv.slice(3);
  const log = createLog(hostname(), "hot-keys");
  return runDaemon(log, () => {
    const names = readdirSync(from).filter((name) => name.startsWith("tz"));
    const files = clientFiles(new Map(names.map((name) => [name, readFileSync(join(from, name), "utf8")])));
    for (const [name, entries] of Object.entries(files)) {
      rmSync(join(to, name), { force: true });
      writeFileSync(join(to, name), JSON.stringify(entries), { mode: 0o600 });
    }
    log.info("written", "done", { addresses: names });
    return Promise.resolve();
  });
}
