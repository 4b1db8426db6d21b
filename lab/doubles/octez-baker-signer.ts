/** The signer as octez-baker asks it: its own high watermark first, one signature at a time for each key. */
import type { ClientFolder } from "./client-folder";
import { readJson, writeJson, type Trace } from "./common";
import type { Options } from "./octez-baker-options";
import { log } from "./octez-output";
import { decodeSignature, RemoteSigner } from "./remote-signer";

export type Kind = "blocks" | "preattestations" | "attestations";
type Highwatermarks = Record<Kind, { delegate: string; highwatermark: { round: number; level: number } }[]>;
export interface Key {
  address: string;
  alias: string;
  tz4: boolean;
  /** Octez signs one after the other for each key. */
  queue: Promise<unknown>;
}

export class SignerClient {
  private readonly remote: RemoteSigner;

  constructor(
    private readonly options: Pick<Options, "signer" | "clientDir" | "callTimeoutMs" | "dalNode">,
    private readonly folder: ClientFolder,
    private readonly trace: Trace,
  ) {
    this.remote = new RemoteSigner(options);
  }

  /** Marks first, then asks the signer. Undefined where it must not or could not. */
  sign(key: Key, kind: Kind, level: number, round: number, bytes: Buffer): Promise<Buffer | undefined> {
    const result = key.queue.then(async () => {
      const path = this.folder.file("highwatermarks");
      const fresh = await this.folder.lock(() => {
        const marks = readJson<Highwatermarks>(path, { blocks: [], preattestations: [], attestations: [] });
        const mark = marks[kind].find((entry) => entry.delegate === key.address)?.highwatermark;
        if (mark && (level < mark.level || (level === mark.level && round <= mark.round))) return false;
        marks[kind] = [
          ...marks[kind].filter((entry) => entry.delegate !== key.address),
          { delegate: key.address, highwatermark: { round, level } },
        ];
        writeJson(path, marks);
        return true;
      });
      if (!fresh) {
        this.trace("below-highwatermark", { kind, level, round });
        return undefined;
      }
      return this.askSigner(key, kind, level, round, bytes);
    });
    key.queue = result.catch(() => undefined);
    return result;
  }

  private async askSigner(
    key: Key,
    kind: Kind,
    level: number,
    round: number,
    bytes: Buffer,
  ): Promise<Buffer | undefined> {
    const started = performance.now();
    const answer = await this.remote.sign(key.address, bytes, ({ status, text }) =>
      this.trace("refused", { kind, level, round, status, reason: text.slice(0, 200) }),
    );
    if (typeof answer === "string") {
      this.trace("signed", { kind, level, round, ms: Math.round(performance.now() - started) });
      return decodeSignature(answer);
    }
    const who = `'${key.alias}' (${key.address}) --`;
    const what = ["Error:", ...answer.lines.map((line) => `  ${line}`)].map((line) => `  ${line}`).concat("");
    const at = `for level ${level}, round ${round}`;
    const dal = this.options.dalNode === undefined ? "without DAL content" : "attesting no DAL slots";
    if (kind === "blocks") log("ERROR", `failed to sign block for ${who}`, ...what);
    else if (kind === "preattestations")
      log("ERROR", `unable to sign preattestation ${at} for delegate`, `  ${who}`, ...what);
    else log("ERROR", `unable to sign attestation (${dal}) ${at}`, `  for delegate ${who}`, ...what);
    return undefined;
  }
}
