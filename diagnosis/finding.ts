/** What a diagnosis is made of. */
export interface Finding {
  /** note: it happened in the last ten minutes and is over. */
  severity: "note" | "warning" | "critical";
  /** Stable code in kebab-case. */
  code: string;
  text: string;
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
  (severity: Finding["severity"]) =>
  (code: string, text: string, remedy: string): Finding => ({ severity, code, text, remedy });
export const note = finding("note");
export const warning = finding("warning");
export const critical = finding("critical");

/** What a rule finds: nothing, one thing or several. */
export type Found = Finding | Finding[] | undefined;
