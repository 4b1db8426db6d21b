/**
 * A small text that is replaced before every signature. Guarantees what writeDurably does (after a crash at any point
 * the text is the old or the new one) in a quarter of its time: two slots of one file are written in turn and in place,
 * with one fdatasync of blocks that the disk has already, where a rename waits twice for the journal of the file
 * system.
 *
 * A slot holds one line: SHA-256 of the rest, number, text. One that is torn was never acknowledged, so the other one
 * counts. Where none is whole, reading is an error. Each process begins with a new file, and does so again where the
 * disk refused.
 *
 * Behind the slots are cells, a number each, that are written without waiting for the disk: in the page cache they
 * outlive the process, not the machine.
 */
import { createHash } from "node:crypto";
import { closeSync, fdatasync, openSync, writeSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { writeDurably } from "../runtime/durable";
import type { MemoryFile } from "./memory";

const digest = (text: string): string => createHash("sha256").update(text).digest("hex");

const cellCount = 1024;
const cellBytes = 16;
const cellText = (number: number): string => String(number).padStart(cellBytes - 1) + "\n";

/** Number and text of a slot, or undefined where it is not whole. */
function readSlot(slot: Buffer): { number: number; text: string } | undefined {
  const end = slot.indexOf("\n");
  const [, hash, rest = "", number, text = ""] =
    /^([0-9a-f]{64}) ((\d+) (.*))$/.exec(slot.toString("utf8", 0, Math.max(0, end))) ?? [];
  return hash !== undefined && digest(rest) === hash ? { number: Number(number), text } : undefined;
}

/** What a slot file asks of the file system; rejects and throws as node:fs does. */
export interface SlotDisk {
  read(path: string): Promise<Buffer>;
  /** Durable replacement of the whole file. */
  replace(path: string, content: Buffer): Promise<void>;
  open(path: string): number;
  /** Writes `bytes` from `offset` on at `position`. @returns how many were written */
  write(fd: number, bytes: Buffer, offset: number, position: number): number;
  /** Resolves when what was written to the file is on the disk. */
  sync(fd: number): Promise<void>;
  close(fd: number): void;
}
const fileSystem: SlotDisk = {
  read: (path) => readFile(path),
  replace: writeDurably,
  open: (path) => openSync(path, "r+"),
  write: (fd, bytes, offset, position) => writeSync(fd, bytes, offset, bytes.length - offset, position),
  sync: promisify(fdatasync),
  close: closeSync,
};

/** @param slotBytes of the longest text; some 800 are needed for a key */
export function slotFile(path: string, slotBytes = 262_144, on: Partial<SlotDisk> = {}): MemoryFile {
  const disk = { ...fileSystem, ...on };
  let fd: number | undefined;
  let number = 0;
  return {
    async read() {
      let content: Buffer;
      try {
        content = await disk.read(path);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
        throw error;
      }
      const half = Math.max(0, (content.length - cellCount * cellBytes) / 2);
      const slots = [content.subarray(0, half), content.subarray(half, 2 * half)].flatMap(
        (slot) => readSlot(slot) ?? [],
      );
      const [newest] = slots.sort((a, b) => b.number - a.number);
      if (!newest) throw new Error("none of its two slots is whole");
      const cells = content.toString("latin1", 2 * half).split("\n", cellCount);
      return { text: newest.text, cells: cells.map((cell) => (/^ *\d+$/.test(cell) ? Number(cell) : NaN)) };
    },
    async write(text) {
      const rest = `${number + 1} ${text}`;
      const line = Buffer.from(`${digest(rest)} ${rest}\n`);
      if (line.length > slotBytes || text.includes("\n"))
        throw new Error(`a slot holds one line of ${slotBytes} bytes, got ${line.length}`);
      const position = (number % 2) * slotBytes;
      try {
        if (fd === undefined) {
          const fresh = Buffer.alloc(2 * slotBytes + cellCount * cellBytes, cellText(0));
          fresh.fill(0, 0, 2 * slotBytes);
          line.copy(fresh, position);
          await disk.replace(path, fresh);
          fd = disk.open(path);
        } else {
          for (let done = 0; done < line.length;) done += disk.write(fd, line, done, position + done);
          await disk.sync(fd);
        }
        number++;
      } catch (error) {
        // After a failed sync the kernel may take for written what is not: never again into these blocks.
        if (fd !== undefined) disk.close(fd);
        fd = undefined;
        throw error;
      }
    },
    note(cell, noted) {
      if (fd === undefined || cell >= cellCount) throw new Error(`cell ${cell} of ${cellCount} cannot be noted now`);
      disk.write(fd, Buffer.from(cellText(noted)), 0, 2 * slotBytes + cell * cellBytes);
    },
  };
}
