/**
 * The fencing suite of process.test.ts, the very file, against a real API server, with the service account and the Role
 * that the stack declares.
 */
import { readFileSync } from "node:fs";
import { UpstreamKubeApi } from "../../../lab/kube-api/upstream";
import { testKey } from "../../../lab/doubles/signing-keys";
import { missingForControlPlane, startControlPlane, type ControlPlane } from "../../../tools/test-assets/control-plane";
import { namespace, useOtherApi } from "../../helpers/gates";
import { applyStack, stackBaker } from "../../helpers/stack-subject";

const missing = missingForControlPlane();
if (missing !== undefined) console.log(`skipped: ${missing}`);

(missing === undefined ? describe : describe.skip)("with a real API server", () => {
  let plane: ControlPlane;
  beforeAll(async () => {
    plane = await startControlPlane();
    await applyStack(plane, testKey("tz1", "baker").address, namespace);
    const upstream = { ...plane, ca: readFileSync(plane.caFile, "utf8") };
    useOtherApi({ make: (options) => new UpstreamKubeApi(options, upstream), serviceAccount: `${stackBaker}-as` });
  });
  afterAll(() => plane?.stop());

  // eslint-disable-next-line @typescript-eslint/no-require-imports -- its tests belong here
  require("./process.test");
});
