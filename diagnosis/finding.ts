/** What a diagnosis is made of. */
export interface Finding {
  /** note: it happened in the last ten minutes and is over, or there is still much time for it. */
  severity: "note" | "warning" | "critical";
  /** Of a critical one: true where it is certain that nobody signs, false where somebody perhaps does. */
  certain: boolean;
  /** Stable code in kebab-case. */
  code: string;
  text: string;
  /** What to do: commands and pages, separated by semicolons. */
  remedy: string;
}
export interface Diagnosis {
  /** True where one member holds, may sign and has everything that it needs. */
  signing: boolean;
  /** One sentence: who signs, and if nobody, why. */
  sentence: string;
  findings: Finding[];
}

const finding =
  (severity: Finding["severity"], certain = false) =>
  (code: string, text: string, remedy: string): Finding => ({ severity, certain, code, text, remedy });
export const note = finding("note");
export const warning = finding("warning");
/** Somebody may still sign: the cluster does not say it. */
export const critical = finding("critical");
/** Nobody can sign. */
export const stopped = finding("critical", true);

/** Where the operator's `kubectl` has to look. */
export interface Place {
  context: string;
  namespace: string;
}
const word = (text: string): string => (/^[\w.:/@-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
/** A remedy whose commands can be copied: they name context and namespace. */
export const inPlace = (remedy: string, place: Place | undefined): string =>
  place
    ? remedy.replace(
        /\bkubectl (?=[a-z])/g,
        `kubectl ${place.context === "" ? "" : `--context ${word(place.context)} `}-n ${word(place.namespace)} `,
      )
    : remedy;

/** What a rule finds: nothing, one thing or several. */
export type Found = Finding | Finding[] | undefined;
