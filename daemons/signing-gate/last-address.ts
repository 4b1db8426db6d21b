/**
 * Name look-ups of the signers. The cluster's DNS may fall silent, and a block must not wait for it: the last good
 * address of a name serves until the next good answer. A look-up that hangs holds a thread that the disk needs, too, so
 * few are under way at once.
 */
import { lookup, type LookupAddress } from "node:dns";
import type { LookupFunction } from "node:net";

/** All addresses of a name. @throws where there is no answer */
export type Resolve = (hostname: string) => Promise<LookupAddress[]>;

const resolveName: Resolve = (hostname) =>
  new Promise((resolve, reject) =>
    lookup(hostname, { all: true }, (error, addresses) => (error ? reject(error) : resolve(addresses))),
  );

/** How long a name whose address is known waits for another answer. */
const waitMs = 200;
/** Of the four threads that look up names and work for the disk. */
const atOnce = 2;

export function lastGoodAddress(resolve: Resolve = resolveName): LookupFunction {
  const known = new Map<string, LookupAddress[]>();
  const pending = new Map<string, { answer: Promise<LookupAddress[]>; silent: boolean }>();

  /** Concurrent look-ups of one name share an answer. Undefined where too many of other names are under way. */
  const ask = (hostname: string) => {
    const shared = pending.get(hostname);
    if (shared) return shared;
    if (pending.size >= atOnce) return undefined;
    const asked = { answer: resolve(hostname), silent: false };
    pending.set(hostname, asked);
    asked.answer
      .then(
        (addresses) => void (addresses.length > 0 && known.set(hostname, addresses)),
        () => undefined,
      )
      .finally(() => pending.delete(hostname));
    return asked;
  };

  const find = async (hostname: string): Promise<LookupAddress[]> => {
    const last = known.get(hostname);
    const asked = ask(hostname);
    if (!last) return asked ? asked.answer : resolve(hostname);
    if (!asked || asked.silent) return last;
    let timer: NodeJS.Timeout | undefined;
    const silence = new Promise<LookupAddress[]>((done) => {
      timer = setTimeout(() => {
        asked.silent = true;
        done(last);
      }, waitMs);
    });
    const answer = asked.answer.then(
      (addresses) => (addresses.length > 0 ? addresses : last),
      () => last,
    );
    return Promise.race([answer, silence]).finally(() => clearTimeout(timer));
  };

  return (hostname, options, callback) => {
    find(hostname).then(
      (addresses) => {
        const [first] = addresses;
        if (options.all) callback(null, addresses);
        else if (first) callback(null, first.address, first.family);
        else callback(Object.assign(new Error(`no address of ${hostname}`), { code: "ENOTFOUND" }), "", 0);
      },
      (error: NodeJS.ErrnoException) => callback(error, "", 0),
    );
  };
}
