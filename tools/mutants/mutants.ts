/**
 * Deliberate faults, each against one promise of the protocol. A suite that stays green with one of them does not
 * notice what it promises. The text to find must occur exactly once in its file: a test holds the list to the code.
 */
export interface Mutant {
  name: string;
  /** The promise that it breaks. */
  breaks: string;
  file: string;
  find: string;
  replace: string;
}

const gate = "daemons/signing-gate/gate.ts";
const marking = "daemons/signing-gate/marking.ts";
const tenures = "daemons/signing-gate/tenures.ts";
const sentBlocks = "daemons/signing-gate/sent-blocks.ts";
const signingKey = "daemons/signing-gate/signing-key.ts";
const rules = "daemons/signing-gate/decide.ts";
const memory = "daemons/signing-gate/memory.ts";
const slots = "daemons/signing-gate/slot-file.ts";
const leaderLease = "daemons/elector/leader-lease.ts";
const election = "daemons/elector/decide.ts";
const supervisor = "daemons/baker-supervisor/decide.ts";
const merge = "daemons/nonce-importer/merge-folder.ts";
const checker = "lab/checker/checker.ts";

export const mutants: readonly Mutant[] = [
  {
    name: "forward-before-disk",
    breaks: "a request is forwarded only after its mark is on this disk (S5)",
    file: memory,
    find: "        await durable;\n",
    replace: "",
  },
  {
    name: "gate-does-not-wait-for-disk",
    breaks: "a request is forwarded only after its mark is on this disk (S5)",
    file: marking,
    find: "      await memory.within(durable, ",
    replace: "      void memory.within(durable, ",
  },
  {
    name: "no-sync",
    breaks: "a mark survives the end of the machine",
    file: slots,
    find: "          await disk.sync(fd);\n",
    replace: "",
  },
  {
    name: "same-file-after-failed-sync",
    breaks: "after a failed sync nothing is written into the same blocks again",
    file: slots,
    find: "        if (fd !== undefined) disk.close(fd);\n        fd = undefined;\n",
    replace: "",
  },
  {
    name: "announced-forgotten-with-the-machine",
    breaks: "a mark that was announced may have been forwarded before the machine ended (S5)",
    file: memory,
    find: "return cellsHold && !Number.isNaN(noted) ? entry",
    replace: "return !Number.isNaN(noted) ? entry",
  },
  {
    name: "cells-outlive-the-machine",
    breaks: "a cell counts only while the machine runs in which it was noted",
    file: memory,
    find: "this.boot !== null && parsed.boot === this.boot;",
    replace: "this.boot !== null;",
  },
  {
    name: "cell-not-noted",
    breaks: "what was forwarded is remembered after the end of the process (S5)",
    file: memory,
    find: "        this.file.note(cell, entry.number);\n",
    replace: "",
  },
  {
    name: "cell-not-read",
    breaks: "what was forwarded is remembered after the end of the process (S5)",
    file: memory,
    find: "if (noted >= number)",
    replace: "if (noted > number)",
  },
  {
    name: "unreadable-is-empty",
    breaks: "a gate whose file cannot be read treats its watermarks as lost (S5)",
    file: memory,
    find: '      for (const address of addresses) memory.keys.set(address, "lost");\n',
    replace: "",
  },
  {
    name: "replaced-object-is-good",
    breaks: "a watermark with another uid than the remembered one is lost (S5)",
    file: memory,
    find: "uid: known?.uid ?? uid,",
    replace: "uid,",
  },
  {
    name: "unconfirmed-does-not-count",
    breaks: "a watermark below a mark that may have been forwarded is lost (S5)",
    file: rules,
    find: "unconfirmed === null ? marks",
    replace: "unconfirmed !== undefined ? marks",
  },
  {
    name: "failed-write-is-forgotten",
    breaks: "what the disk refused is written again",
    file: memory,
    find: "        this.dirty = true;\n        throw error;",
    replace: "        throw error;",
  },
  {
    name: "opens-before-the-raise-is-remembered",
    breaks: "a key opens when its raise is on this disk (S5)",
    file: signingKey,
    find: "await memory.within(memory.commit(",
    replace: "void memory.within(memory.commit(",
  },
  {
    name: "no-tenure-check-before-write",
    breaks: "a mark is written only in a tenure that is still held",
    file: marking,
    find: '        if (!this.tenures.isCurrent(tenure)) return "again";\n',
    replace: "",
  },
  {
    name: "no-tenure-check-after-mark",
    breaks: "nothing is forwarded after the tenure ended",
    file: gate,
    find: "        if (!this.tenures.isCurrent(tenure)) continue;\n",
    replace: "",
  },
  {
    name: "open-while-it-ends",
    breaks: "a gate that ends takes no new work",
    file: tenures,
    find: "this.ending.signal.aborted ? undefined : this.options.leadership.tenure();",
    replace: "this.options.leadership.tenure();",
  },
  {
    name: "unknown-outcome-without-epoch",
    breaks: "an unknown outcome belongs to the epoch in which it was tried (S7)",
    file: sentBlocks,
    find: "this.uncertain.get(digest) === epoch",
    replace: "this.uncertain.has(digest)",
  },
  {
    name: "floor-may-be-signed",
    breaks: "nothing at the floor is signed (S3)",
    file: rules,
    find: "request.level === record.floor &&",
    replace: "request.level <= record.floor &&",
  },
  {
    name: "another-content-of-a-place",
    breaks: "two contents of one place are never signed (S1)",
    file: rules,
    find: 'if (order === 0)\n      return { action: "refuse", reason: "conflict"',
    replace: 'if (order === 0 && false)\n      return { action: "refuse", reason: "conflict"',
  },
  {
    name: "round-not-compared",
    breaks: "marks are ordered by level and round (S1)",
    file: rules,
    find: "a.level - b.level || a.round - b.round;",
    replace: "a.level - b.level;",
  },
  {
    name: "other-holder-of-the-epoch",
    breaks: "the same epoch of another holder ends the tenure",
    file: rules,
    find: "at.epoch === tenure.epoch && at.holder !== tenure.holder",
    replace: "at.epoch === tenure.epoch && false",
  },
  {
    name: "rewound-is-good",
    breaks: "a watermark below what this gate remembers is lost (S5)",
    file: rules,
    find: 'memory && below(observed.record, { ...memory, marks: marksOf(memory) })) return "rewound"',
    replace: 'memory && false) return "rewound"',
  },
  {
    name: "unproven-is-good",
    breaks: "a new disk beside a restored watermark starts above a synced head (S5)",
    file: rules,
    find: 'isUnwritten(observed.record) ? undefined : "unproven"',
    replace: "isUnwritten(observed.record) ? undefined : undefined",
  },
  {
    name: "absurd-level",
    breaks: "one absurd level does not brick a key (S6)",
    file: rules,
    find: "return level <= head.level + headMargin + behind;",
    replace: "return level >= 0 || behind > 0;",
  },
  {
    name: "renewal-from-its-answer",
    breaks: "a renewal counts from when it was sent",
    file: leaderLease,
    find: "tenure.renewedAtMs = outcome.sentAtMs;\n",
    replace: "tenure.renewedAtMs = this.o.clock.now();\n",
  },
  {
    name: "acquisition-from-its-answer",
    breaks: "a tenure counts from when its acquisition was sent",
    file: leaderLease,
    find: "epoch, renewedAtMs: outcome.sentAtMs }",
    replace: "epoch, renewedAtMs: this.o.clock.now() }",
  },
  {
    name: "resumes-its-epoch",
    breaks: "every acquisition begins a new epoch",
    file: election,
    find: ".filter((epoch) => epoch <= maxEpoch)) + 1",
    replace: ".filter((epoch) => epoch <= maxEpoch))",
  },
  {
    name: "no-renew-deadline",
    breaks: "a master that cannot renew stops before its lease runs out",
    file: election,
    find: '  if (now >= tenure.renewedAtMs + t.renewDeadlineSeconds * 1000) return "renew-deadline";\n',
    replace: "",
  },
  {
    name: "releases-over-running-daemons",
    breaks: "the lease is not released while daemons may run",
    file: election,
    find: 'return act({ kind: "lose" }, "daemons-not-confirmed-stopped");',
    replace: 'return step("pushing", "daemons-not-confirmed-stopped");',
  },
  {
    name: "challenger-trusts-its-own-duration",
    breaks: "a challenger waits for the longer of its own and the recorded duration",
    file: election,
    find: "Math.max(leaseMs, lease.durationMs)",
    replace: "leaseMs",
  },
  {
    name: "runs-past-validity",
    breaks: "no daemon runs without valid leadership (S4)",
    file: supervisor,
    find: '  if (now >= until) return verdict("stop-now", "validity-expired");\n',
    replace: "",
  },
  {
    name: "runs-under-a-foreign-elector",
    breaks: "only the own pod's elector is believed",
    file: supervisor,
    find: '  if (record.self !== state.self) return verdict("stop-now", "not-our-elector");\n',
    replace: "",
  },
  {
    name: "merge-ignores-a-changed-file",
    breaks: "what the baker wrote since the merge was prepared is not lost",
    file: merge,
    find: "if (!same(now.stateful, base.stateful) || !same(now.legacy, base.legacy)) continue;",
    replace: "if (!same(now.stateful, base.stateful) && !same(now.legacy, base.legacy)) continue;",
  },
  {
    name: "checker-two-digests",
    breaks: "the checker reports two digests at one place",
    file: checker,
    find: "if (other !== undefined && other !== digest)",
    replace: "if (other !== undefined && false)",
  },
  {
    name: "checker-floor",
    breaks: "the checker reports a tenure that opens at a signed level",
    file: checker,
    find: "    if (floor < this.signedLevel)\n",
    replace: "    if (floor < this.signedLevel - 1)\n",
  },
];
