/** The fast core of the elections among real processes; all of it is in election.soak.test.ts. */
import { embeddedSubject } from "../../helpers/election-subject";
import { electionSuite } from "../../suites/election-suite";

electionSuite("elections, embedded API, twice as fast", () => embeddedSubject(), { k: 2, cases: "core" });
