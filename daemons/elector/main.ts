import { loadConfig } from "../runtime/config";
import { runDaemon } from "../runtime/lifecycle";
import { createLog } from "../runtime/log";
import { runElector } from "./run";

export function main(): Promise<void> {
  const config = loadConfig("elector");
  const log = createLog(config.env.TOG_POD_NAME, "elector");
  return runDaemon(log, (terminated) => runElector(config, log, terminated));
}
