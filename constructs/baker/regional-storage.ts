/** A disk that exists in two zones, for the one baking node. */
import { Construct } from "constructs";
import { type BakerStorage, type BakerStorageProps, storageClass } from "./zonal-storage";

export class RegionalStorage extends Construct implements BakerStorage {
  readonly claimName = "regional";
  readonly storageClassName: string;

  constructor(scope: Construct, id: string, props: BakerStorageProps) {
    super(scope, id);
    // A regional disk has exactly two zones.
    this.storageClassName = storageClass(this, {
      ...props,
      zones: props.zones.slice(0, 2),
      claimName: this.claimName,
      replication: "regional-pd",
    });
  }
}
