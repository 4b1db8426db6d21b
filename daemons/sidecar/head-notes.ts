/** What the order and the delay of a node's heads say about the chain and its peers. Pure. */
import type { SeenHead } from "./assess";

/**
 * Late: a block was seen after this part of the time between two blocks. Ten times that time is a node that catches up,
 * which readiness tells.
 */
const late = { part: 1 / 3, most: 10, inARow: 3 };

export class HeadNotes {
  private before: SeenHead | undefined;
  private lateInARow = 0;

  /** @returns what is worth a word, by what it is about */
  see(head: SeenHead): { about: string; text: string } | undefined {
    const before = this.before;
    this.before = head;
    if (!before || before.hash === head.hash) return undefined;
    if (head.level <= before.level) {
      const round = head.round === null ? "" : ` of round ${head.round}`;
      return {
        about: "replaced",
        text: `the head at level ${before.level} was replaced by one at level ${head.level}${round}: a fork`,
      };
    }
    const blockMs = head.timestampMs - before.timestampMs;
    if (head.level !== before.level + 1 || blockMs <= 0) return undefined;
    const isLate = head.ageThenMs > late.part * blockMs && head.ageThenMs < late.most * blockMs;
    this.lateInARow = isLate ? this.lateInARow + 1 : 0;
    if (this.lateInARow < late.inARow) return undefined;
    return {
      about: "late",
      text: `blocks reach the node late: level ${head.level} after ${(head.ageThenMs / 1000).toFixed(1)} s`,
    };
  }
}
