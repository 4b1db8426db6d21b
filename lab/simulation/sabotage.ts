/** What a test breaks on purpose, to see that the judges notice. */
export const sabotages = {
  "gate-writes-blindly": "the gate's writes are not conditional on what it has read",
  "elector-writes-blindly": "the elector's writes are not conditional on what it has read",
  "renews-from-the-answer": "a tenure counts from the answer of its renewal, not from when that was sent",
  "no-wait-before-takeover": "a standby takes the lease without waiting for one lease duration",
  "daemons-are-not-stopped": "the supervisor's kill has no effect",
  "forwards-before-the-mark": "the gate takes a mark for written before the API has answered",
  "supervisor-ignores-the-deadline": "for the supervisor the deadline of a tenure never comes",
  "gate-forgets": "the gate's disk loses what is not synced, and nothing is ever synced",
} as const;
export type Sabotage = keyof typeof sabotages;
