/**
 * nonce-importer: brings the seed nonces of every other member into this pod's client folder, so that the next master can reveal them.
 *
 * Guarantees: what it acknowledges is durable here; the baker's lock is held for milliseconds and by a child that is killed where it is slow; no update
 * of the baker is lost, no file is ever torn; broken, foreign or unfitting input changes nothing on disk and alerts.
 * It does not guarantee that another member can be reached: after 5 x nonceAckSeconds it reports `reconciled` all the same.
 * `tog nonce-importer export` prints this folder's nonces as JSON, `... import` merges such a JSON from stdin, under the same lock (scripts/nonces).
 */
import { ports } from "../../contract/ports";
import { systemClock } from "../runtime/clock";
import { loadConfig } from "../runtime/config";
import { serveHttp } from "../runtime/http-server";
import { runDaemon } from "../runtime/lifecycle";
import { createLog } from "../runtime/log";
import { createRegistry } from "../runtime/metrics";
import { createImporter } from "./importer";
import { exportNonces, importNonces } from "./transfer";
import { createWriter, runWriter } from "./writer";

export async function main(): Promise<void> {
  const role = process.argv[3];
  if (role === "writer") return runWriter();
  if (role === "export") return exportNonces(loadConfig("nonce-importer"));
  if (role === "import") return importNonces(loadConfig("nonce-importer"));
  const config = loadConfig("nonce-importer");
  const log = createLog(config.env.TOG_POD_NAME, "nonce-importer");
  await runDaemon(log, async (signal) => {
    const registry = createRegistry(config.file.baker, config.env.TOG_POD_NAME);
    const writer = createWriter(config.file.timings.importerKillMs);
    const importer = createImporter({ config, writer, clock: systemClock, log, registry });
    const server = await serveHttp({
      host: config.env.TOG_POD_ADDRESS,
      port: ports.nonceImporter,
      routes: {},
      status: importer.status,
      metrics: registry,
    });
    log.info("started", "", { port: server.port });
    try {
      await importer.run(signal);
    } finally {
      await server.close();
      await writer.close();
    }
  });
}
