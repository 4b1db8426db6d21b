/** What is checked, and what is left out to see that the check notices it. */
import type { Verdict } from "./checker";

export interface Case {
  /** fence, election or quorum. */
  model: string;
  /** What the bound is about. */
  name: string;
  /** Belongs to `npm test`: visited in a few seconds. */
  quick: boolean;
  /** Takes minutes: visited where it is asked for (`--slow`), and its result kept. */
  slow?: boolean;
  run(maxStates?: number): Verdict;
}
export interface LeftOut {
  model: string;
  /** S1 to S7, or a rule of the quorum. */
  rule: string;
  /** The sentence that does not hold in this run. */
  without: string;
  /** How the broken property begins. */
  breaks: string;
  slow?: boolean;
  run(): Verdict;
}
