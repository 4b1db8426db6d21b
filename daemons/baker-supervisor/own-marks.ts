/** What octez-baker has written of its signatures: for each key and kind the last one, before its signer is asked. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod/mini";

const entries = z.array(z.object({ highwatermark: z.object({ level: z.int() }) }));
const marks = z.object({ blocks: entries, preattestations: entries, attestations: entries });

/** @returns the highest level of any kind and key; null where that is not known */
export async function highestSigned(folder: string, chain: string): Promise<number | null> {
  try {
    const names = (await readdir(folder)).filter((name) => {
      const [, prefix] = /^(Net\w+)_highwatermarks$/.exec(name) ?? [];
      return prefix !== undefined && chain.startsWith(prefix);
    });
    const texts = await Promise.all(names.map((name) => readFile(join(folder, name), "utf8")));
    const levels = texts
      .flatMap((text) => Object.values(z.parse(marks, JSON.parse(text))).flat())
      .map(({ highwatermark }) => highwatermark.level);
    return levels.length > 0 ? Math.max(...levels) : null;
  } catch {
    return null;
  }
}
