/**
 * The keys without which octez-baker is started. It asks for the public key of each of its keys at its start and ends
 * where nobody has one: a next key that no signer holds yet would keep it from signing with the present one.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { BakerFile } from "../../contract/baker-file";
import { ports } from "../../contract/ports";
import { gateStatusSchema } from "../../contract/status";
import type { DaemonConfig } from "../runtime/config";
import { getJson } from "../runtime/http-get";

type Key = Pick<BakerFile["keys"][number], "address" | "alias">;
interface Asked {
  timeoutMs: number;
  signal: AbortSignal;
}

/** Addresses whose public key the client folder holds. */
async function learnt(clientDir: string): Promise<Set<string>> {
  const text = await readFile(join(clientDir, "public_keys"), "utf8").catch(() => "[]");
  const value = (entry: unknown) => (entry as { value?: { locator?: unknown; key?: unknown } } | null)?.value;
  try {
    const entries = (JSON.parse(text) as unknown[]).map(value);
    return new Set(entries.flatMap((entry) => (entry?.key ? [String(entry.locator).replace("remote:", "")] : [])));
  } catch {
    return new Set();
  }
}

/** Whether no signer has shown a key; where nobody answers nothing is known, and the key counts as shown. */
type Missing = (address: string) => boolean | Promise<boolean>;

/** As the gate has seen it. */
async function atGate(url: string, asked: Asked): Promise<Missing> {
  const gate = gateStatusSchema.safeParse(await getJson(url, asked).catch(() => undefined)).data;
  return (address) => gate?.keys.find((key) => key.address === address)?.signers === 0;
}
/** As the signer itself says it: without a gate octez-baker asks that one. */
const atSigner =
  (url: string, asked: Asked): Missing =>
  (address) =>
    getJson(`${url.replace(/\/+$/, "")}/keys/${address}`, asked).then(
      () => false,
      (error: unknown) => error instanceof Error && error.message === "HTTP 404",
    );

export class AbsentKeys {
  private absent: readonly Key[] = [];

  /** @param command of octez-baker as it is now, expanded */
  constructor(
    private readonly config: Pick<DaemonConfig, "env" | "file">,
    private readonly command: () => readonly string[],
    private readonly signal: AbortSignal,
  ) {}

  get addresses(): string[] {
    return this.absent.map(({ address }) => address);
  }

  /** Before a start. */
  async look(): Promise<void> {
    this.absent = await this.missing();
  }
  /** Whether a key that was left out is there by now. */
  async someCame(): Promise<boolean> {
    return this.absent.length > 0 && (await this.missing()).length < this.absent.length;
  }
  /** The command line without their names, which stand between `run` and its first option. */
  without(command: readonly string[]): string[] {
    const names = this.absent.map(({ alias }) => alias);
    const run = command.indexOf("run");
    const options = command.findIndex((word, i) => i > run && word.startsWith("--"));
    return command.filter((word, i) => i < run || (options >= 0 && i > options) || !names.includes(word));
  }

  /** [] where it would be all of them: then octez-baker says itself what it lacks, and tries again. */
  private async missing(): Promise<Key[]> {
    const { env, file } = this.config;
    if (file.keys.length < 2) return [];
    const known = await learnt(env.TOG_CLIENT_DIR);
    const asked: Asked = { timeoutMs: file.timings.requestTimeoutMs, signal: this.signal };
    const command = this.command();
    const signer = command[command.indexOf("-R") + 1] ?? "";
    const isMissing =
      file.topology === "solo"
        ? atSigner(signer, asked)
        : await atGate(`http://${env.TOG_POD_ADDRESS}:${ports.gateHealth}/status`, asked);
    const unknown = file.keys.filter(({ address }) => !known.has(address));
    const found = await Promise.all(unknown.map(async (key) => ((await isMissing(key.address)) ? [key] : [])));
    const absent = found.flat();
    return absent.length < file.keys.length ? absent : [];
  }
}
