import { SimulatedChain } from "../../../lab/simulation/chain";
import { Stage } from "../../../lab/simulation/stage";

test("a level whose head was replaced after its attestation is missed, unless the new head is attested, too", async () => {
  const stage = new Stage(1, undefined);
  const chain = new SimulatedChain(stage, 1, { turn: () => undefined, head: () => undefined });
  await stage.world.run(1800);
  const { level } = chain.head;
  for (const address of stage.addresses) chain.attest(address, chain.head);
  chain.reorganise();
  await stage.world.run(10_000);
  expect(chain.head.level).toBeGreaterThan(level);
  expect(chain.missed.map((miss) => miss.level)).toContain(level);
});
