/** All elections among real processes: six times as fast, and a part at the default timings. */
import { embeddedSubject } from "../../helpers/election-subject";
import { electionSuite } from "../../suites/election-suite";

electionSuite("elections, embedded API, six times as fast", () => embeddedSubject(), { k: 6, cases: "all" });
electionSuite("elections, embedded API, default timings", () => embeddedSubject(), { k: 1, cases: "core" });
