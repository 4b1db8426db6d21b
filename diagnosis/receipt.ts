/** What a receipt of a transition means, in words that need no table. */
const causes: Readonly<Record<string, string>> = {
  first: "the first master of this baker",
  "planned-operator": "an operator asked for it",
  "planned-ineligible": "the master could not sign any more and handed over",
  "planned-behind": "the master's node was behind and it handed over",
  "planned-dal": "the master's DAL node was not well, another member's was, and it handed over",
  "planned-sigterm": "the master's pod was told to end and handed over",
  expired: "the lease ran out: its holder had stopped renewing it",
  reacquired: "the same pod took the lease again",
  released: "the master gave the lease back",
  "last-resort": "no member was fully able to sign; the best one took over",
};
export const causeText = (cause: string): string => causes[cause] ?? cause;
