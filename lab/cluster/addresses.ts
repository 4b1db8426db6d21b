/**
 * Loopback addresses of one laboratory: 127.A.B.1 and up, with A.B of its own, so that several can run on a machine.
 */
import { createServer, type Server } from "node:net";
import { randomInt } from "node:crypto";

export class Addresses {
  private next = 2;
  private constructor(
    private readonly prefix: string,
    private readonly guard: Server,
  ) {}

  /** @throws Error where the system has no 127.0.0.0/8 (only Linux gives the whole block to the loopback device) */
  static async claim(): Promise<Addresses> {
    for (let attempt = 0; attempt < 20; attempt++) {
      const prefix = `127.${randomInt(10, 250)}.${randomInt(0, 100) * 2}`;
      const guard = createServer().unref();
      const error = await new Promise<NodeJS.ErrnoException | undefined>((resolve) => {
        guard.once("error", resolve);
        guard.listen(6, `${prefix}.1`, () => resolve(undefined));
      });
      if (!error) return new Addresses(prefix, guard);
      if (error.code === "EADDRNOTAVAIL")
        throw new Error(
          "the laboratory gives each pod an address of 127.0.0.0/8, which only Linux has on its loopback device; run it on Linux or in a Linux container",
        );
      if (error.code === "EACCES") return new Addresses(prefix, guard);
    }
    throw new Error("20 loopback networks are in use by other laboratories");
  }

  /** A fresh one; about 500. */
  take(): string {
    const n = this.next++;
    const [a, b, c] = this.prefix.split(".").map(Number);
    if (n > 500) throw new Error("a laboratory has 500 addresses: restart it");
    return `${a}.${b}.${(c ?? 0) + (n >> 8)}.${n & 255 || 254}`;
  }
  /** The first address, for what belongs to the laboratory itself. */
  get own(): string {
    return `${this.prefix}.1`;
  }
  release(): void {
    this.guard.close();
  }
}
