/** One archive of text files (tar, gzip), without a program or library: whoever helps can open it everywhere. */
import { gzipSync } from "node:zlib";

export interface ArchiveFile {
  /** At most 99 characters. */
  name: string;
  text: string;
}

/** A header of the ustar format: 512 bytes, numbers as octal texts. */
function header(name: string, size: number, atMs: number): Buffer {
  const block = Buffer.alloc(512);
  const put = (text: string, at: number) => void block.write(text, at, "latin1");
  const octal = (value: number, digits: number) => value.toString(8).padStart(digits, "0");
  put(name.slice(0, 99), 0);
  put(`${octal(0o600, 7)}\0`, 100);
  put(`${octal(0, 7)}\0${octal(0, 7)}\0`, 108);
  put(`${octal(size, 11)}\0${octal(Math.floor(atMs / 1000), 11)}\0`, 124);
  // The checksum counts its own field as blanks.
  put(" ".repeat(8), 148);
  put("0", 156);
  put("ustar\x0000", 257);
  put(
    `${octal(
      block.reduce((sum, byte) => sum + byte, 0),
      6,
    )}\0 `,
    148,
  );
  return block;
}

export function archive(files: readonly ArchiveFile[], atMs: number): Buffer {
  const blocks = files.flatMap(({ name, text }) => {
    const body = Buffer.from(text);
    return [header(name, body.length, atMs), body, Buffer.alloc((512 - (body.length % 512)) % 512)];
  });
  return gzipSync(Buffer.concat([...blocks, Buffer.alloc(1024)]));
}
