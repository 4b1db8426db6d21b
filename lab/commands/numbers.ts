/** Whole numbers on the command line of a randomized run. */

/** @returns undefined, after a sentence on stderr, where `text` is no whole number of at least `least` */
export function wholeNumber(option: string, text: string | undefined, least: number, otherwise: number) {
  if (text === undefined) return otherwise;
  const number = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(number) && number >= least) return number;
  console.error(`${option} must be a whole number, ${least} or more; got ${text}`);
  return undefined;
}

/** The given seed, or a random one. */
export const seedOf = ({ seed }: { seed?: string | undefined }) =>
  wholeNumber("--seed", seed, 0, Math.floor(Math.random() * 2 ** 31));
