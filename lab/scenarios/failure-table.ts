/**
 * The rows that scenarios measure, with their goals; D is the start time of the daemon, a declared parameter of the
 * doubles.
 */
export interface FailureRow {
  row: string;
  goal: string;
}
export const failureTable: readonly FailureRow[] = [
  { row: "planned switchover, drain, upgrade", goal: "at most 1 level missed for each handover" },
  { row: "baker crash", goal: "restart in place, at most 1 level; at most 3 where it hangs" },
  {
    row: "node crash or stuck head",
    goal: "at most 6 s to notice, then a handover; at most 3 levels; nothing moves where nobody is better",
  },
  { row: "pod, node or zone loss", goal: "lease + 1 s + D until another daemon is ready; at most 2 levels" },
  { row: "API unreachable", goal: "no signature without it; a new tenure within 2 s of its return, signing after D" },
  { row: "elector or gate killed", goal: "restart, at most 1 level" },
  { row: "split brain, paused VM, twin pods, restored backups", goal: "zero conflicting signatures" },
];
export const outsideTheTable: readonly FailureRow[] = [
  { row: "signer lost", goal: "another signer or tunnel signs; without any, a handover" },
  {
    row: "DAL node",
    goal: "at most 1 level missed; the tenure moves where the other DAL node is well; slots are attested again within a minute",
  },
  { row: "nonces", goal: "every commitment is revealed, whichever pod made it" },
  { row: "switching the topology", goal: "never two bakers; no violation" },
  { row: "rotation of keys", goal: "no level is missed, and nothing restarts, when the chain activates another key" },
  { row: "hostile callers", goal: "nothing moves, no level missed" },
  { row: "clocks", goal: "the lease is kept" },
  { row: "disk", goal: "the master signs on, or hands over where it is its own disk; at most 3 levels" },
  { row: "chain", goal: "no handover" },
];
