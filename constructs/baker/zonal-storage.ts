/** Disks of one zone each: one for every baking node. */
import { StorageClassV1 } from "@cdktf/provider-kubernetes/lib/storage-class-v1";
import { Construct } from "constructs";
import { labels } from "../../contract/names";
import { objectLabels, pin } from "../element";

export interface BakerStorage {
  readonly storageClassName: string;
  /** Name of the volume claim template. */
  readonly claimName: string;
}

export interface BakerStorageProps {
  readonly namespace: string;
  readonly zones: readonly string[];
  readonly diskType: string;
  /** Name of a StorageClass that is there already. @default one for Google's disks is made */
  readonly existingStorageClass?: string;
}

export interface GoogleStorageClassProps extends BakerStorageProps {
  readonly claimName: string;
  readonly replication: "none" | "regional-pd";
}
/** The name of the StorageClass for Google's disks, made unless there is an existing one. */
export function storageClass(scope: Construct, props: GoogleStorageClassProps): string {
  if (props.existingStorageClass !== undefined) return props.existingStorageClass;
  const name = `${props.namespace}-${props.claimName}`;
  const persistentDisk = props.diskType.startsWith("pd-");
  pin(
    new StorageClassV1(scope, "class", {
      metadata: { name, labels: objectLabels() },
      storageProvisioner: "pd.csi.storage.gke.io",
      parameters: { type: props.diskType, ...(persistentDisk ? { "replication-type": props.replication } : {}) },
      // The disk is made where the pod is placed, never the other way round.
      volumeBindingMode: "WaitForFirstConsumer",
      allowVolumeExpansion: true,
      reclaimPolicy: "Retain",
      ...(props.zones.length > 0
        ? { allowedTopologies: { matchLabelExpressions: [{ key: labels.zone, values: [...props.zones] }] } }
        : {}),
    }),
    "storage",
    props.claimName,
  );
  return name;
}

export class ZonalStorage extends Construct implements BakerStorage {
  readonly claimName = "zonal";
  readonly storageClassName: string;

  constructor(scope: Construct, id: string, props: BakerStorageProps) {
    super(scope, id);
    this.storageClassName = storageClass(this, { ...props, claimName: this.claimName, replication: "none" });
  }
}
