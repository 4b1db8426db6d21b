/**
 * What exists already and is taken over instead of made anew: an import block of Terraform for each, in the stack that
 * has the address.
 */
import { TerraformResource, type TerraformStack } from "cdktf";
import { ConfigurationError, show } from "../configuration/errors";
import type { Configuration } from "../configuration/schema";

const addressesOf = (stack: TerraformStack): string[] =>
  stack.node
    .findAll()
    .filter((node) => TerraformResource.isTerraformResource(node))
    .map(({ terraformResourceType, friendlyUniqueId }) => `${terraformResourceType}.${friendlyUniqueId}`);

/** @throws ConfigurationError where no stack has the address */
export function takeOver(stacks: readonly TerraformStack[], { imports }: Configuration): void {
  const wanted = Object.entries(imports);
  const known = stacks.map((stack) => ({ stack, addresses: new Set(addressesOf(stack)) }));
  for (const { stack, addresses } of known) {
    const blocks = wanted.filter(([to]) => addresses.has(to)).map(([to, id]) => ({ to, id }));
    if (blocks.length > 0) stack.addOverride("import", blocks);
  }
  const all = known.flatMap(({ addresses }) => [...addresses]).sort();
  const unknown = wanted.filter(([to]) => !all.includes(to));
  if (unknown.length === 0) return;
  throw new ConfigurationError(
    unknown.map(([to, id]) => {
      const alike = all.filter((address) => address.split(".")[0] === to.split(".")[0]);
      return {
        path: ["imports", to],
        found: show(id),
        write: `the address of something that this configuration makes, as \`npm run diff\` shows it: ${alike.length > 0 ? alike.join(", ") : `none is a ${JSON.stringify(to.split(".")[0])}`}`,
      };
    }),
  );
}
