import { HeadNotes } from "../../../daemons/sidecar/head-notes";
import type { SeenHead } from "../../../daemons/sidecar/assess";

const head = (level: number, ageThenMs: number, changes: Partial<SeenHead> = {}): SeenHead => ({
  ...{
    level,
    round: 0,
    hash: `block ${level}`,
    predecessor: "",
    proto: 25,
    timestamp: "",
    chainId: "NetX",
    timestampMs: level * 6000,
    firstSeenMs: 0,
    ageThenMs,
  },
  ...changes,
});

test("heads that come in time and in order are no news", () => {
  const notes = new HeadNotes();
  const said = [1, 2, 3, 4, 5].map((level) => notes.see(head(level, 1900)));
  expect([...said, notes.see(head(5, 1900))]).toEqual(Array(6).fill(undefined));
});

test("another head at the same level is a fork", () => {
  const notes = new HeadNotes();
  notes.see(head(7, 100));
  expect(notes.see(head(7, 100, { hash: "other", round: 1 }))).toEqual({
    about: "replaced",
    text: "the head at level 7 was replaced by one at level 7 of round 1: a fork",
  });
});

test("the third late block in a row is told, one in time ends the row, and catching up is something else", () => {
  const notes = new HeadNotes();
  const late = (level: number, ms = 2500) => notes.see(head(level, ms))?.text;
  expect([late(1), late(2), late(3), late(4)]).toEqual([
    undefined,
    undefined,
    undefined,
    "blocks reach the node late: level 4 after 2.5 s",
  ]);
  expect([late(5, 500), late(6), late(7), late(8)]).toEqual([
    undefined,
    undefined,
    undefined,
    "blocks reach the node late: level 8 after 2.5 s",
  ]);
  expect([late(9, 90_000), late(10, 84_000), late(11, 78_000), late(12, 72_000)]).toEqual(Array(4).fill(undefined));
});
