/** How long nonces are kept, as the pod's node tells it. Without an answer everything is kept. */
import * as z from "zod/mini";
import { ports } from "../../contract/ports";
import type { DaemonConfig } from "../runtime/config";
import { getJson } from "../runtime/http-get";

const currentLevelSchema = z.object({ cycle: z.int() });
const constantsSchema = z.object({ consensus_rights_delay: z.int() });
const defaultKeepCycles = 2;

export class Retention {
  cycle: number | undefined;
  private rightsDelay: number | undefined;

  constructor(private readonly config: DaemonConfig) {}

  get keepCycles(): number {
    return this.rightsDelay ?? defaultKeepCycles;
  }
  /** Both are known. */
  get known(): boolean {
    return this.cycle !== undefined && this.rightsDelay !== undefined;
  }

  async ask(signal: AbortSignal): Promise<void> {
    const { env, file } = this.config;
    const rpc = `http://${env.TOG_LOCAL_ADDRESS}:${ports.octezRpc}/chains/main/blocks/head`;
    const ask = (path: string): Promise<unknown> =>
      getJson(`${rpc}/${path}`, { timeoutMs: file.timings.requestTimeoutMs, signal });
    try {
      this.cycle = currentLevelSchema.parse(await ask("helpers/current_level")).cycle;
      this.rightsDelay ??= constantsSchema.parse(await ask("context/constants")).consensus_rights_delay;
    } catch {
      // An old cycle keeps more than the new one would.
    }
  }
}
