/** Watermarks of bakers that have signed before: of a first installation signing starts five levels above the head. */
import { watermarkDataKey, watermarkName } from "../contract/names";
import { noMarks, type Watermark } from "../contract/watermark";
import type { Synthesis } from "./synth";

/** Into the stack, before it is applied: as if every key but the next ones had signed up to `level`. */
export function seedWatermarks({ bakers, chainId, stack }: Synthesis, level: number): void {
  for (const { name, keys, next } of bakers)
    for (const address of Object.keys(keys)) {
      if ([next?.consensus.address, next?.companion?.address].includes(address)) continue;
      const record: Watermark = {
        ...{ version: 1, baker: name, chain: chainId, epoch: 0, holder: "", floor: level },
        ...{ marks: noMarks, unfenced: false },
      };
      const map = stack.configMaps.find((entry) => entry.name === watermarkName(address));
      if (map) map.data = { [watermarkDataKey]: JSON.stringify(record) };
    }
}
