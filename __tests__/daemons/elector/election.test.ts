/** The fast core of the elections among real processes; all of it is in election.soak.test.ts. */
import { embeddedSubject } from "../../helpers/election-subject";
import { electionSuite } from "../../suites/election-suite";

electionSuite("elections, embedded API, three times as fast", () => embeddedSubject(), { k: 3, cases: "core" });
