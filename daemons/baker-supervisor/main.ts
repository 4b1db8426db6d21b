/** baker-supervisor: runs the baking daemons while this pod may bake. See supervisor.ts for what it guarantees. */
import { loadConfig } from "../runtime/config";
import { runDaemon } from "../runtime/lifecycle";
import { createLog } from "../runtime/log";
import { type Commands, daemonCommands, SupervisorDaemon } from "./daemon";
import { launch } from "./launch";

export function main(): Promise<void> {
  if (process.argv[3] === "--launch") return launch(Number(process.argv[4]), process.argv.slice(5));
  const config = loadConfig("baker-supervisor");
  const log = createLog(config.env.TOG_POD_NAME, "baker-supervisor");
  let commands: Commands;
  try {
    commands = daemonCommands(config.file, config);
  } catch (error) {
    log.error("configuration", error instanceof Error ? error.message : String(error));
    process.exit(1);
  }
  return runDaemon(log, (terminated) => new SupervisorDaemon(config, commands, log, terminated).run());
}
