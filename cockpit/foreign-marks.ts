/**
 * What other bakers and signers wrote about what they have signed: octez-signer's `*_high_watermarks`, Signatory's
 * watermark files of every version, octez-baker's `*_highwatermarks`. Fail-closed: a file that is not understood to its
 * last value is refused, since a mark that is overlooked is a level that may be signed twice.
 */
import { basename } from "node:path";
import * as z from "zod/mini";
import { decodeAddress } from "../tezos/addresses";

export interface ForeignMark {
  address: string;
  kind: string;
  level: number;
  round: number;
}
export interface ForeignMarks {
  format: "octez-signer" | "octez-baker" | "Signatory";
  /** Marks of the wanted chain. */
  marks: ForeignMark[];
}

const int32 = z.int().check(z.nonnegative(), z.maximum(0x7fffffff));
const address = z.string().check(z.refine((text) => decodeAddress(text) !== undefined, { error: "is no address" }));
const chainId = z.string().check(z.regex(/^Net[1-9A-HJ-NP-Za-km-z]{12}$/));
const kinds = ["block", "preendorsement", "endorsement", "preattestation", "attestation"] as const;
const kind = z.enum([...kinds, "preattestation_with_dal", "attestation_with_dal"]);
const hash = z.optional(z.nullable(z.string()));

const octezMark = z.strictObject({ level: int32, round: z.optional(int32), hash, signature: z.optional(z.string()) });
const octezSigner = z.record(chainId, z.record(address, octezMark));

const entry = z.strictObject({ delegate: address, highwatermark: z.strictObject({ round: int32, level: int32 }) });
const octezBaker = z.strictObject({
  blocks: z.array(entry),
  preattestations: z.array(entry),
  attestations: z.array(entry),
});

const stored = z.strictObject({ level: int32, round: z.optional(z.nullable(int32)), hash, order: z.optional(int32) });
/** The versions differ in which of key and kind is outside. */
const signatoryByKey = z.record(address, z.partialRecord(kind, stored));
const signatoryByKind = z.partialRecord(kind, z.record(address, stored));
const signatoryWithoutKind = z.record(address, stored);

type Stored = z.infer<typeof stored>;
const mark = (of: string, kindName: string, { level, round }: Pick<Stored, "level" | "round">): ForeignMark => ({
  ...{ address: of, kind: kindName, level, round: round ?? 0 },
});
const nested = (outer: object, inner: (name: string, value: never) => ForeignMark[]): ForeignMark[] =>
  Object.entries(outer).flatMap(([name, value]) => inner(name, value as never));

function octezSignerMarks(name: string, value: unknown, chain: string): ForeignMark[] | undefined {
  const of = /^(\w+?)_high_watermarks?$/.exec(name)?.[1];
  if (of === undefined) return undefined;
  if (!(kinds as readonly string[]).includes(of)) throw new Error(`its name says no kind of request: ${of}`);
  const chains = z.parse(octezSigner, value);
  const marks = chains[chain];
  if (!marks) throw new Error(`it has marks of ${Object.keys(chains).join(", ") || "no chain"}, none of ${chain}`);
  return Object.entries(marks).map(([key, { level, round }]) => mark(key, of, { level, round }));
}

function octezBakerMarks(name: string, value: unknown, chain: string): ForeignMark[] | undefined {
  const prefix = /^(net[1-9a-z]{7,12})_highwatermarks$/i.exec(name)?.[1];
  if (prefix === undefined) return undefined;
  if (!chain.toLowerCase().startsWith(prefix.toLowerCase())) throw new Error(`it is of chain ${prefix}, not ${chain}`);
  const file = z.parse(octezBaker, value);
  return nested(file, (plural, entries: z.infer<typeof entry>[]) =>
    entries.map(({ delegate, highwatermark }) => mark(delegate, plural.replace(/s$/, ""), highwatermark)),
  );
}

function signatoryMarks(name: string, value: unknown, chain: string): ForeignMark[] | undefined {
  const id = /^(Net\w{12})\.json$/.exec(name)?.[1];
  if (id === undefined) return undefined;
  if (id !== chain) throw new Error(`it is of chain ${id}, not ${chain}`);
  const byKey = z.safeParse(signatoryByKey, value);
  if (byKey.success)
    return nested(byKey.data, (key, marks: Record<string, Stored>) =>
      nested(marks, (of, one: Stored) => [mark(key, of, one)]),
    );
  const byKind = z.safeParse(signatoryByKind, value);
  if (byKind.success)
    return nested(byKind.data, (of, marks: Record<string, Stored>) =>
      nested(marks, (key, one: Stored) => [mark(key, of, one)]),
    );
  return nested(z.parse(signatoryWithoutKind, value), (key, one: Stored) => [mark(key, "any", one)]);
}

const readers = [
  ["octez-signer", octezSignerMarks],
  ["octez-baker", octezBakerMarks],
  ["Signatory", signatoryMarks],
] as const;

/**
 * @param path its name tells the format @param chain full chain id
 * @returns undefined where the name is that of no such file
 * @throws Error where it is one and is not understood completely, or has nothing of this chain
 */
export function readForeignMarks(path: string, text: string, chain: string): ForeignMarks | undefined {
  const name = basename(path);
  const found = readers.find(([, reader]) => {
    try {
      return reader(name, {}, chain) !== undefined;
    } catch {
      return true;
    }
  });
  if (!found) return undefined;
  const [format, reader] = found;
  try {
    const value: unknown = JSON.parse(text);
    return { format, marks: reader(name, value, chain) ?? [] };
  } catch (error) {
    const why =
      error instanceof z.core.$ZodError
        ? error.issues.map(({ path: at, message }) => `${at.map(String).join(".")}: ${message}`).join("; ")
        : error instanceof SyntaxError
          ? "it is no JSON"
          : String(error instanceof Error ? error.message : error);
    throw new Error(`${path} looks like a file of ${format} and is not understood: ${why}`);
  }
}
