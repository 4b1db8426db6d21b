/**
 * The real providers accept every example, both stacks, both modes: validate and plan, no error, no warning but those
 * listed in verify-terraform.
 */
import { missingForTerraform, providerNames, realProviders } from "../../tools/test-assets/providers";
import { verify, type StepResult } from "../../tools/verify-terraform";

const missing = missingForTerraform(providerNames);
if (missing !== undefined) console.warn(`skipped: ${missing}`);

const examples = ["shadownet", "mainnet-two-ledgers", "existing-cluster"];
const modes = [false, true];

(missing === undefined ? describe : describe.skip)("the real providers", () => {
  test.each(examples.flatMap((example) => modes.map((flag) => [example, flag] as const)))(
    "accept %s (flag %s)",
    async (example, flag) => {
      const providers = realProviders();
      if (!providers) throw new Error("there were providers a moment ago");
      const results: StepResult[] = await verify(example, flag, { kind: "real", ...providers });
      const stacks = example === "existing-cluster" ? ["baker"] : ["platform", "baker"];
      const wanted = stacks.flatMap((stack) => ["init", "validate", "plan"].map((step) => `${stack} ${step} ok`));
      expect(results.map(({ stack, step, state, text }) => `${stack} ${step} ${state}${text}`)).toEqual(wanted);
    },
  );
});
