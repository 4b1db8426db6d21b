/** The pod's side of npm run nonces: nonces out of a client folder and into one, as JSON on stdout and stdin. */
import { mkdir } from "node:fs/promises";
import { nonceImport, type NonceBundle } from "../../tezos/nonces";
import { sleep, systemClock } from "../runtime/clock";
import { loadConfig, type DaemonConfig } from "../runtime/config";
import { maxContentBytes } from "../runtime/nonce-wire";
import { readNonces } from "../runtime/nonce-files";
import { mergeIntoFolder } from "./merge-folder";

const importWaitMs = 30_000;

const say = (fields: Record<string, unknown>): void => console.log(JSON.stringify(fields));
const fail = (error: unknown): void => {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
};

export async function exportNonces(config: DaemonConfig = loadConfig("nonce-importer")): Promise<void> {
  try {
    const { stateful, legacy, damaged } = await readNonces(config.env.TOG_CLIENT_DIR, config.file.network.chainId);
    if (damaged !== undefined) throw new Error(`${damaged}; move it away to export the others`);
    const bundle: NonceBundle = {
      version: 1,
      chain: config.file.network.chainId,
      baker: config.file.baker,
      stateful,
      legacy,
    };
    await new Promise<void>((resolve) => process.stdout.write(JSON.stringify(bundle) + "\n", () => resolve()));
  } catch (error) {
    fail(error);
  }
}

/** Waits up to 30 s for the baker's lock; a baker may run meanwhile. */
export async function importNonces(config: DaemonConfig = loadConfig("nonce-importer")): Promise<void> {
  try {
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of process.stdin) {
      size += (chunk as Buffer).length;
      if (size > maxContentBytes) throw new Error(`an import has at most ${maxContentBytes} bytes`);
      chunks.push(chunk as Buffer);
    }
    const chain = config.file.network.chainId;
    const remote = nonceImport(Buffer.concat(chunks).toString("utf8"), { chain, baker: config.file.baker });
    await mkdir(config.env.TOG_CLIENT_DIR, { recursive: true });
    const since = systemClock.now();
    for (;;) {
      const result = await mergeIntoFolder(
        {
          clientDir: config.env.TOG_CLIENT_DIR,
          chainId: chain,
          remote,
          // A person asked for these nonces: none is too old.
          currentCycle: undefined,
          keepCycles: 0,
          lockHoldMs: config.file.timings.lockHoldMs,
          lockWaitMs: 1000,
        },
        systemClock,
      );
      if (result.outcome !== "busy")
        return say({
          pod: config.env.TOG_POD_NAME,
          outcome: result.outcome,
          added: result.added,
          advanced: result.advanced,
          quarantined: result.quarantined,
        });
      if (systemClock.now() - since > importWaitMs) throw new Error(`not imported: ${result.reason}`);
      await sleep(200);
    }
  } catch (error) {
    fail(error);
  }
}
