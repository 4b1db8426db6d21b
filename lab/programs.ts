/** The daemons' bundle for laboratories; the builder is given, because nobody imports the scripts. */
import { cached, sourceHash } from "./bundle";

/** @param build writes the bundle to a file */
export const daemonBundle = (build: (outfile: string) => Promise<unknown>): Promise<string> =>
  cached(`tog-${sourceHash(["contract", "tezos", "daemons"])}.cjs`, async (file) => void (await build(file)));
