/**
 * signing-gate: every signature of the baking pod passes here.
 *
 * Guarantees S1-S3 and S5-S7 (gate.ts) for every key; listens for the baker on the loopback address only; decides
 * nothing about who is master. Does not guarantee an answer: without the Kubernetes API, without leadership or without
 * a signer it refuses, inside its budget.
 */
import { loadConfig } from "../runtime/config";
import { runDaemon } from "../runtime/lifecycle";
import { createLog } from "../runtime/log";
import { gateConfig } from "./config";
import { GateDaemon } from "./gate-daemon";

export function main(): Promise<void> {
  const config = gateConfig(loadConfig("signing-gate"));
  const log = createLog(config.pod, "signing-gate");
  return runDaemon(log, async (signal) => (await GateDaemon.load(config, log, signal)).run());
}
