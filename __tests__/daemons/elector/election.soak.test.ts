/**
 * All elections among real processes, accelerated, and a part at the default timings.
 * TOG_ELECTION_SPEED = how many times faster (default 3; 6 wants a machine that is not busy: requests then have 167
 * ms).
 */
import { embeddedSubject } from "../../helpers/election-subject";
import { electionSuite } from "../../suites/election-suite";

const k = Number(process.env.TOG_ELECTION_SPEED ?? "3");

electionSuite(`elections, embedded API, ${k} times as fast`, () => embeddedSubject(), { k, cases: "all" });
electionSuite("elections, embedded API, default timings", () => embeddedSubject(), { k: 1, cases: "core" });
