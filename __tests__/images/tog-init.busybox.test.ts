/** The shell that starts our daemons again, as Alpine has it. */
import { togInitSuite } from "../suites/tog-init-suite";

togInitSuite("busybox", "sh");
