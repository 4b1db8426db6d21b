/** What moving in means for each key: pure, so that what is shown is what is done. */
import { basename } from "node:path";
import { noMarks, readWatermark, type Watermark } from "../contract/watermark";
import type { BakerFile } from "../contract/baker-file";
import { watermarkDataKey } from "../contract/names";
import type { ConfigMapView } from "../diagnosis/objects";
import { mergeSets, nonceFileKind, parseLegacy, parseStateful, type NonceBundle, type NonceSet } from "../tezos/nonces";
import { readForeignMarks, type ForeignMark, type ForeignMarks } from "./foreign-marks";

/** The old baker must have been silent for so many levels: what it signs after its files were copied is in no file. */
export const quietLevels = 5;

export interface Understood {
  /** A line for each file. */
  lines: string[];
  marks: ForeignMark[];
  nonces: NonceSet;
}
/** @throws Error where a file is not understood completely */
export function understand(files: readonly { path: string; text: string }[], chain: string): Understood {
  const result: Understood = { lines: [], marks: [], nonces: { stateful: [], legacy: [] } };
  for (const { path, text } of files) {
    const found = readForeignMarks(path, text, chain);
    result.lines.push(`${path}: ${found ? takeMarks(result, found) : takeNonces(result, path, text, chain)}`);
  }
  return result;
}
function takeMarks(result: Understood, { format, marks }: ForeignMarks): string {
  result.marks.push(...marks);
  const each = marks.map(({ address, kind, level, round }) => `${kind} of ${address} at ${level}/${round}`);
  return `${format}; ${each.join(", ") || "no mark"}`;
}
function takeNonces(result: Understood, path: string, text: string, chain: string): string {
  const kind = nonceFileKind(basename(path), chain);
  if (kind === undefined)
    throw new Error(
      `${path}: a file to import is named *_high_watermarks (octez-signer), CHAIN.json (Signatory), *_highwatermarks, *_nonces, *_stateful_nonces or *_orphaned_nonces (octez-baker); nothing was imported`,
    );
  if (kind === "foreign") throw new Error(`${path}: its name is of another chain than ${chain}; nothing was imported`);
  try {
    const set: NonceSet =
      kind === "stateful_nonces"
        ? { stateful: parseStateful(text), legacy: [] }
        : { stateful: [], legacy: parseLegacy(text) };
    result.nonces = mergeSets(result.nonces, set);
    return `octez-baker; ${set.stateful.length + set.legacy.length} nonces`;
  } catch (error) {
    // The message of a nonce file tells where it is broken and never what stands there.
    throw new Error(`${path}: ${error instanceof Error ? error.message : "not understood"}; nothing was imported`);
  }
}

export interface FloorStep {
  address: string;
  map: ConfigMapView;
  record: Watermark;
  text: string;
}
export interface ImportPlan {
  /** What was understood and what follows, for people. */
  lines: string[];
  /** What speaks against it; nothing is written where there is any. */
  objections: string[];
  floors: FloorStep[];
  nonces: NonceBundle | undefined;
}
export interface ImportFacts {
  file: BakerFile;
  /** Of the cluster, by name. */
  maps: readonly ConfigMapView[];
  /** Level of the chain's head; undefined where nobody tells it. */
  head: number | undefined;
  /** Keys that never signed anything, by the operator's word. */
  unsigned: readonly string[];
}

export function planImport(understood: Understood, facts: ImportFacts): ImportPlan {
  const { file, head, unsigned } = facts;
  const objections: string[] = [];
  const floors = file.keys.flatMap((key) => {
    const levels = understood.marks.filter(({ address }) => address === key.address).map(({ level }) => level);
    if (levels.length > 0) return floorStep(key, Math.max(...levels), facts, objections);
    if (!unsigned.includes(key.address))
      objections.push(
        `no file has a mark of ${key.address}; if it never signed anything, say --unsigned ${key.address}`,
      );
    return [];
  });
  const highest = Math.max(-1, ...understood.marks.map(({ level }) => level));
  if (head === undefined)
    objections.push("no member tells the head's level: give it with --head (a block explorer shows it)");
  else if (head < highest + quietLevels)
    objections.push(
      `the old baker signed level ${highest} and the head is ${head}: wait until level ${highest + quietLevels}, copy its files again, and see that they are the same`,
    );
  const { stateful, legacy } = understood.nonces;
  const foreign = [...new Set(understood.marks.map(({ address }) => address))].filter(
    (address) => !file.keys.some((key) => key.address === address),
  );
  return {
    lines: [
      ...understood.lines,
      ...foreign.map((address) => `${address} is no key of ${file.baker}: its marks are left aside`),
      ...floors.map(({ text }) => text),
      `${stateful.length + legacy.length} nonces go into every pod of ${file.baker}`,
    ],
    objections,
    floors,
    nonces:
      stateful.length + legacy.length > 0
        ? { version: 1, chain: file.network.chainId, baker: file.baker, stateful, legacy }
        : undefined,
  };
}

/**
 * The floor becomes the highest mark, and the record says `unfenced`: the first tenure then starts above a synced head
 * as well, so that even a file that was copied too early makes no level sign twice.
 */
function floorStep(
  { address, watermark }: BakerFile["keys"][number],
  level: number,
  { file, maps }: ImportFacts,
  objections: string[],
): FloorStep[] {
  const map = maps.find(({ metadata }) => metadata.name === watermark);
  if (!map) {
    objections.push(`${watermark} of ${address} does not exist: \`npm run deploy -- --only baker\` makes it`);
    return [];
  }
  const read = readWatermark(map.data[watermarkDataKey]);
  if (read.state === "unreadable") {
    objections.push(`${watermark} of ${address} cannot be read (${read.problem}): docs/runbooks/watermark-lost.md`);
    return [];
  }
  const before: Watermark =
    read.state === "record"
      ? read.record
      : {
          ...{ version: 1, baker: file.baker, chain: file.network.chainId, epoch: 0, holder: "", floor: -1 },
          ...{ marks: noMarks, unfenced: true },
        };
  if (before.baker !== file.baker || before.chain !== file.network.chainId) {
    objections.push(`${watermark} of ${address} belongs to ${before.baker} on ${before.chain}`);
    return [];
  }
  if (Object.values(before.marks).some((mark) => mark !== null)) {
    objections.push(
      `${address} has signed here already: import before the first signature, while no signer is reached`,
    );
    return [];
  }
  const floor = Math.max(before.floor, level);
  return [
    {
      ...{ address, map, record: { ...before, floor, unfenced: true } },
      text: `${address}: nothing at or below level ${floor} is signed, nor up to 5 levels above the head when the gate takes it over`,
    },
  ];
}
