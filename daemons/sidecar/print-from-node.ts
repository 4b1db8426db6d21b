/** For a person who asks a pod: what its node tells, as one JSON object on stdout, or why not and exit code 1. */
import { ports } from "../../contract/ports";
import { systemClock as clock } from "../runtime/clock";
import type { DaemonConfig } from "../runtime/config";
import { createOctezRpc, type OctezRpc } from "../runtime/octez-rpc";

/** A person waits; a node that is busy is given its time. */
export const timeoutMs = 10_000;

/** @param ask @throws Error with what the node did not tell */
export async function printFromNode({ env }: DaemonConfig, ask: (rpc: OctezRpc) => Promise<object>): Promise<void> {
  const rpc = createOctezRpc({ url: `http://${env.TOG_LOCAL_ADDRESS}:${ports.octezRpc}`, clock });
  try {
    process.stdout.write(JSON.stringify(await ask(rpc)) + "\n");
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    process.exitCode = 1;
  } finally {
    rpc.close();
  }
}
