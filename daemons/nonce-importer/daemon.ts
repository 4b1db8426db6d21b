/** The importer as a daemon: signals, wiring, port. */
import { ports } from "../../contract/ports";
import { systemClock } from "../runtime/clock";
import { loadConfig } from "../runtime/config";
import { serveHttp } from "../runtime/http-server";
import { runDaemon } from "../runtime/lifecycle";
import { createLog } from "../runtime/log";
import { createRegistry } from "../runtime/metrics";
import { Importer } from "./importer";
import { Writer } from "./writer";

export async function runImporter(): Promise<void> {
  const config = loadConfig("nonce-importer");
  const log = createLog(config.env.TOG_POD_NAME, "nonce-importer");
  await runDaemon(log, async (signal) => {
    const registry = createRegistry(config.file.baker, config.env.TOG_POD_NAME);
    const writer = new Writer(config.file.timings.importerKillMs);
    const importer = new Importer({
      ...{ config, writer, clock: systemClock, log, registry },
      onTrouble: () => server.changed("/status"),
    });
    const server = await serveHttp({
      host: config.env.TOG_POD_ADDRESS,
      port: ports.nonceImporter,
      routes: {},
      status: () => importer.status(),
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
