/** docs/failover/history.json: what `history` said after each scenario, beside the laboratory. */
import { z } from "zod";
import { whoseSlots } from "../../contract/status";

const rowSchema = z.strictObject({
  scenario: z.string(),
  /** Levels that the laboratory's chain has as missed since the fault. */
  missed: z.number(),
  /** Of the receipts since the fault, newest first. */
  transitions: z.array(z.strictObject({ epoch: z.number(), missedLevels: z.number().nullable() })),
  /** Slots that `history` lists, by whose they were. */
  whose: z.record(z.enum(whoseSlots), z.number()),
  /** Sidecars that ran all the time, and whose metrics were compared with the chain, too. */
  sidecars: z.number(),
  /** A sentence each. */
  disagreements: z.array(z.string()),
  date: z.string(),
  /** Of the machine over a minute. */
  load: z.number(),
});
export type HistoryRow = z.output<typeof rowSchema>;
export const readHistoryRows = (text: string): HistoryRow[] => z.array(rowSchema).parse(JSON.parse(text));

/** Scenarios in which `history` may list fewer slots than the laboratory's chain has, with the reason. */
export const historyExceptions: Readonly<Partial<Record<string, string>>> = {
  "flag-on":
    "the pod of before has no lease to tell in, and the sidecars of the new pods saw nothing before their start",
  "flag-off": "the pod that bakes alone has no lease to tell in: its metric and log have what it saw",
  "rolling-update":
    "both pods are replaced, and a sidecar remembers what it saw since its start; the transitions have the number",
};

const whoseText = (whose: HistoryRow["whose"]): string =>
  whoseSlots
    .filter((word) => whose[word] > 0)
    .map((word) => `${whose[word]} ${word}`)
    .join(", ");

/** For docs/failover.md. `names`: every scenario, in their order. */
export function historySection(names: readonly string[], all: readonly HistoryRow[]): string[] {
  const rows = names.flatMap((name) => all.filter(({ scenario }) => scenario === name));
  const missing = names.filter((name) => !rows.some(({ scenario }) => scenario === name));
  const body = rows.map(({ scenario, missed, transitions, whose, sidecars, disagreements, date, load }) => {
    const counts = transitions.map(({ missedLevels }) => missedLevels ?? "not counted").join(", ");
    const outcome = disagreements.length === 0 ? "yes" : `${disagreements.join("; ")}: ${historyExceptions[scenario]}`;
    return `| \`${scenario}\` | ${missed} | ${counts} | ${whoseText(whose)} | ${sidecars} | ${outcome} | ${date}, ${load} |`;
  });
  return [
    "## The laboratory and `history`",
    "",
    "`npm run test:history` runs each scenario and then asks the real command `npm run baker -- history`. The levels that the laboratory's chain has as missed since the fault must be",
    "exactly those that `history` lists; each transition must have the number of levels that the chain has between its two masters, and a time that is not before the fault; and the metric",
    "`tog_sidecar_slots_total` of each sidecar that ran all the time must have grown by what the chain missed. Blocks every 2 s, on a machine with other work on it: how many levels",
    "were missed is no measurement here, only whether all agree.",
    "",
    "| scenario | missed, laboratory | missed, transitions of `history` | slots that `history` lists | sidecars compared | agree | date, load |",
    "| --- | --- | --- | --- | --- | --- | --- |",
    ...body,
    "",
    ...(missing.length > 0 ? [`No row yet: ${missing.join(", ")}.`, ""] : []),
  ];
}
