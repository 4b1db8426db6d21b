import { join } from "node:path";
import { withLock } from "./common";

/** The files of a chain in the folder of Octez' client. */
export class ClientFolder {
  constructor(
    readonly dir: string,
    private readonly chainId: string,
  ) {}

  file(name: string): string {
    return join(this.dir, `${this.chainId.slice(0, 13)}_${name}`);
  }

  lock<T>(action: () => T): Promise<T> {
    return withLock(join(this.dir, "wallet_lock"), action);
  }
}
