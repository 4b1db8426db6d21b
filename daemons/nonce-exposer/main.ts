/**
 * nonce-exposer: shows this pod's seed nonces to the other members of its baker, and to nobody else.
 *
 * Guarantees: a change of the files is pushed at once (and found by a rescan within a second); whoever reconnects gets
 * what is there now; a broken file is an alert and the last whole content stays, it is never an empty one; only pods
 * that know the baker's secret get nonces. `/status`, `/metrics`, `/live` and `/ready` on the same port are plain HTTP
 * and hold no nonce. `finalPushed` is true only for a content that was read after the elector had said that the daemons
 * are stopped, acknowledged by every connected member and at least one. It reads only: the client folder can be mounted
 * read-only here.
 */
import { systemClock } from "../runtime/clock";
import { loadConfig } from "../runtime/config";
import { runDaemon } from "../runtime/lifecycle";
import { createLog } from "../runtime/log";
import { createRegistry } from "../runtime/metrics";
import { Exposer } from "./exposer";

export async function main(): Promise<void> {
  const config = loadConfig("nonce-exposer");
  const log = createLog(config.env.TOG_POD_NAME, "nonce-exposer");
  await runDaemon(log, async (signal) => {
    const registry = createRegistry(config.file.baker, config.env.TOG_POD_NAME);
    await new Exposer({ config, clock: systemClock, log, registry }).run(signal);
  });
}
