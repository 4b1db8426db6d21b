/** What a container of a simulated pod is built from. */
import type { PodEnv } from "../../contract/env";
import type { Log } from "../../daemons/runtime/log";
import type { SimulatedChain, SimulatedNode } from "./chain";
import type { Documents } from "./documents";
import type { SimulatedKube } from "./kube-api";
import type { Process } from "./process";
import type { Stage } from "./stage";

export interface PodParts {
  stage: Stage;
  ordinal: number;
  env: PodEnv;
  identity: string;
  chain: SimulatedChain;
  node: SimulatedNode;
  kube: SimulatedKube;
  documents: Documents;
}

/** Its lines of the levels that matter to a reader become part of the story. */
export function storyLog({ stage, env }: PodParts, process: Process): Log {
  const who = `${env.TOG_POD_NAME} ${process.name}`;
  const line = (event: string, reason: string, fields: object = {}): void => {
    const { from, to, epoch, program, address } = fields as Record<string, unknown>;
    const more = [from, to].every((state) => typeof state === "string") ? ` ${String(from)} -> ${String(to)}` : "";
    const also = epoch === undefined ? "" : ` (epoch ${String(epoch)})`;
    const about = [program, address].flatMap((name) => (typeof name === "string" ? [` ${name.slice(0, 12)}`] : []));
    stage.tell(`${who}: ${event}${more} ${reason}${also}${about.join("")}`);
  };
  // Each signature has its own line, of the signer.
  const info = (event: string, reason: string, fields?: object) => {
    if (event !== "signed") line(event, reason, fields);
  };
  return { debug: () => undefined, info, warn: line, error: line };
}
