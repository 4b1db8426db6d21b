/**
 * The block headers with a seed nonce hash that this gate let through, newest last, across restarts: the nonce
 * importer's accounting.
 */
import * as z from "zod/mini";

export const commitmentSchema = z.object({
  address: z.string(),
  level: z.int(),
  round: z.int(),
  /** Base58, nce... */
  seedNonceHash: z.string(),
  blockPayloadHash: z.optional(z.string()),
  /** Wall clock, milliseconds since 1970. */
  atMs: z.number(),
});
export type Commitment = z.infer<typeof commitmentSchema>;

export interface CommitmentsFile {
  /** The content, or undefined where there is no file. @throws where it cannot be read */
  read(): Promise<string | undefined>;
  /** Durable replacement. */
  write(content: string): Promise<void>;
}

const kept = 256;

export class Commitments {
  private list: Commitment[] = [];
  private chain: Promise<void> = Promise.resolve();

  private constructor(private readonly file: CommitmentsFile) {}

  /** A file that cannot be read is replaced: nothing of safety hangs on it. `problem` says so. */
  static async load(file: CommitmentsFile): Promise<{ commitments: Commitments; problem: string | undefined }> {
    const commitments = new Commitments(file);
    try {
      const text = await file.read();
      if (text !== undefined) commitments.list = z.array(commitmentSchema).parse(JSON.parse(text));
      return { commitments, problem: undefined };
    } catch (error) {
      return { commitments, problem: String(error) };
    }
  }

  all(): readonly Commitment[] {
    return this.list;
  }

  /** Resolves when it is on the disk. @throws where the disk refuses; it is listed all the same */
  add(commitment: Commitment): Promise<void> {
    const same = (other: Commitment) =>
      other.seedNonceHash === commitment.seedNonceHash && other.address === commitment.address;
    this.list = [...this.list.filter((other) => !same(other)), commitment].slice(-kept);
    const written = this.chain.then(() => this.file.write(JSON.stringify(this.list)));
    this.chain = written.catch(() => undefined);
    return written;
  }
}
