/** Everything that the cluster says about one baker at one time, as plain facts. */
import * as z from "zod/mini";
import { bakerFileSchema, memberPods, type BakerFile } from "../contract/baker-file";
import { readPause, type HandoverPause } from "../contract/handover-pause";
import { annotations, holderPod, labels, watermarkDataKey } from "../contract/names";
import { receiptSchema, type Receipt } from "../contract/receipt";
import { memberRecordSchema, type MemberRecord } from "../contract/status";
import { defaultTimings, type Timings } from "../contract/timings";
import { markKinds, readWatermark, type Watermark } from "../contract/watermark";
import type { Place } from "./finding";
import type { ConfigMapView, LeaseView, PodView } from "./objects";

export interface Member {
  pod: string;
  zone: string;
  lease: LeaseView | undefined;
  record: MemberRecord | undefined;
  /** Renewed within the time that counts (memberMaxAge), by the clocks of writer and reader, or seen to change. */
  fresh: boolean;
  ageSeconds: number | undefined;
  /**
   * Seconds by which its wall clock is at least ahead of this machine's (negative: behind); 0 where the requests'
   * durations explain what was seen.
   */
  clockSeconds: number;
}
export interface WatermarkView {
  name: string;
  address: string;
  record: Watermark | undefined;
  /** Why there is no record: "absent" (no such object), "empty" (never written) or "unreadable". */
  missing: "" | "absent" | "empty" | "unreadable";
  highestLevel: number | undefined;
}
export type Topology = "solo" | "active-standby" | "none";
export interface BakerView {
  baker: string;
  lease: LeaseView | undefined;
  /** True while the holder renews. */
  held: boolean;
  leaseAgeSeconds: number | undefined;
  holder: string;
  preferredHolder: string;
  /**
   * An operator's pause of automatic handovers, for as long as the holder says that it still lasts for it; undefined
   * where it says that there is none. `untilMs` is by the clock of this machine.
   */
  handoverPause: HandoverPause | undefined;
  members: Member[];
  watermarks: WatermarkView[];
  receipts: Receipt[];
  pods: PodView[];
  topology: Topology;
  /** Pods that the topology has and the cluster has not. */
  missingPods: string[];
  /** Age of the newest head that a member has told of, by the clock of this machine. */
  headAgeSeconds: number | undefined;
  /** When it was read, milliseconds since 1970. */
  atMs: number;
  /** What the baker was deployed with; undefined where its config map cannot be read. */
  file: BakerFile | undefined;
  /** Which cluster it is; undefined where nobody can be told to look there. */
  place?: Place;
  /** For how long the Kubernetes API has not answered; undefined where it answers. */
  apiSilentSeconds?: number;
}

const parseJson = (text: string | undefined): unknown => {
  try {
    return text === undefined ? undefined : JSON.parse(text);
  } catch {
    return undefined;
  }
};
export const receiptsOf = (lease: LeaseView | undefined): Receipt[] => {
  const list = z.array(receiptSchema).safeParse(parseJson(lease?.metadata.annotations[annotations.receipts]));
  if (list.success && list.data.length > 0) return list.data;
  const last = receiptSchema.safeParse(parseJson(lease?.metadata.annotations[annotations.lastTransition]));
  return last.success ? [last.data] : [];
};

/** What does not change between two looks at the leases. */
export interface Deployment {
  baker: string;
  pods: PodView[];
  topology: Topology;
  file: BakerFile | undefined;
  timings: Timings;
  configMaps: ConfigMapView[];
}
export function deploymentOf(baker: string, allPods: PodView[], configMaps: ConfigMapView[]): Deployment {
  const pods = allPods.filter((pod) => /-(as|solo)-\d+$/.test(pod.metadata.name));
  const files = configMaps.flatMap((map) => bakerFileSchema.safeParse(parseJson(map.data["baker.json"])).data ?? []);
  // While the flag is being switched there can be both: the one whose pods stay.
  const file =
    files.find((entry) => pods.some((pod) => !pod.deleting && memberPods(entry).includes(pod.metadata.name))) ??
    files[0];
  const has = (part: string) => pods.some((pod) => pod.metadata.name.includes(part));
  const topology = file?.topology ?? (has("-as-") ? "active-standby" : has("-solo-") ? "solo" : "none");
  return { baker, pods, topology, file, timings: file?.timings ?? defaultTimings, configMaps };
}

/** One look at the leases of a baker; `changed` has the names of those that were seen to be renewed. */
export interface Leases {
  lease: LeaseView | undefined;
  /** By ordinal. */
  members: LeaseView[];
  changed: ReadonlySet<string>;
  /** When `changed` was seen, by this machine's clock: the API got those renewals in between. */
  seenMs: { from: number; to: number };
}

const ageSeconds = (lease: LeaseView | undefined, nowMs: number): number | undefined =>
  lease?.renewTimeMs === undefined ? undefined : (nowMs - lease.renewTimeMs) / 1000;
/** In both directions: the clocks of writer and reader differ. */
const isYoung = (lease: LeaseView | undefined, limitSeconds: number, nowMs: number): boolean =>
  Math.abs(ageSeconds(lease, nowMs) ?? Infinity) <= limitSeconds;

/** Whether a renewal looks old, so that a second look must tell whether its writer lives. */
export const looksOld = ({ lease, members }: Leases, { timings }: Deployment, nowMs: number): boolean =>
  (lease !== undefined && lease.holderIdentity !== "" && !isYoung(lease, lease.leaseDurationSeconds, nowMs)) ||
  members.some((member) => !isYoung(member, timings.memberMaxAgeSeconds, nowMs));

const recordOf = (lease: LeaseView): MemberRecord | undefined =>
  memberRecordSchema.safeParse(parseJson(lease.metadata.annotations[annotations.member])).data;

/**
 * Its writer had this time within the last `memberMaxAgeSeconds` before the API got it: a request that lasts longer
 * makes a member silent.
 */
function clockDifference({ renewTimeMs }: LeaseView, { from, to }: Leases["seenMs"], timings: Timings): number {
  const earliestMs = from - timings.memberMaxAgeSeconds * 1000;
  if (renewTimeMs === undefined || (renewTimeMs >= earliestMs && renewTimeMs <= to)) return 0;
  // Whole seconds that are certain.
  return Math.trunc((renewTimeMs - (renewTimeMs > to ? to : earliestMs)) / 1000);
}

function memberOf(
  lease: LeaseView,
  ordinal: number,
  { baker, pods, timings }: Deployment,
  seen: Leases,
  nowMs: number,
) {
  const young = isYoung(lease, timings.memberMaxAgeSeconds, nowMs);
  const changed = seen.changed.has(lease.metadata.name);
  const pod = `${baker}-as-${ordinal}`;
  const record = recordOf(lease);
  const age = ageSeconds(lease, nowMs);
  const member: Member = {
    pod,
    zone: record?.zone || (pods.find(({ metadata }) => metadata.name === pod)?.metadata.labels[labels.zone] ?? ""),
    lease,
    record,
    fresh: young || changed,
    ageSeconds: age,
    // It renews, and yet its renewals look old or come from the future.
    clockSeconds: !young && changed ? clockDifference(lease, seen.seenMs, timings) : 0,
  };
  return member;
}

function watermarksOf({ configMaps, file }: Deployment): WatermarkView[] {
  const maps = configMaps.filter((map) => /^wm-[0-9a-f]{40}$/.test(map.metadata.name));
  const addresses = new Map(file?.keys.map((key) => [key.watermark, key.address]));
  const absent = [...addresses].filter(([name]) => !maps.some((map) => map.metadata.name === name));
  return [
    ...absent.map(([name, address]) => ({
      name,
      address,
      record: undefined,
      missing: "absent" as const,
      highestLevel: undefined,
    })),
    ...maps.map((map): WatermarkView => {
      const reading = readWatermark(map.data[watermarkDataKey]);
      const record = reading.state === "record" ? reading.record : undefined;
      const levels = record ? markKinds.flatMap((kind) => record.marks[kind]?.level ?? []) : [];
      return {
        name: map.metadata.name,
        address: addresses.get(map.metadata.name) ?? map.metadata.name,
        record,
        missing: reading.state === "record" ? "" : reading.state,
        highestLevel: levels.length > 0 ? Math.max(...levels) : undefined,
      };
    }),
  ];
}

/** Pure. */
export function viewOf(deployment: Deployment, seen: Leases, nowMs: number): BakerView {
  const { baker, pods, topology, file } = deployment;
  const { lease } = seen;
  const members = seen.members.map((member, ordinal) => memberOf(member, ordinal, deployment, seen, nowMs));
  const heads = members.flatMap(({ record }) => {
    const at = Date.parse(record?.headTimestamp ?? "");
    return Number.isNaN(at) ? [] : [at];
  });
  const held =
    lease !== undefined &&
    lease.holderIdentity !== "" &&
    (isYoung(lease, lease.leaseDurationSeconds, nowMs) || seen.changed.has(lease.metadata.name));
  const holder = held ? holderPod(lease.holderIdentity) : "";
  // Only the holder acts on a pause, and by its own clock.
  const pausedSeconds = members.find(({ pod }) => pod === holder)?.record?.pausedSeconds ?? 0;
  const reason = readPause(lease?.metadata.annotations[annotations.handoverPause])?.reason ?? "";
  return {
    baker,
    lease,
    held,
    leaseAgeSeconds: ageSeconds(lease, nowMs),
    holder,
    preferredHolder: lease?.metadata.annotations[annotations.preferredHolder] ?? "",
    handoverPause: pausedSeconds > 0 ? { untilMs: nowMs + 1000 * pausedSeconds, reason } : undefined,
    members,
    watermarks: watermarksOf(deployment),
    receipts: receiptsOf(lease),
    pods,
    topology,
    missingPods: file ? memberPods(file).filter((name) => !pods.some((pod) => pod.metadata.name === name)) : [],
    headAgeSeconds: heads.length > 0 ? (nowMs - Math.max(...heads)) / 1000 : undefined,
    atMs: nowMs,
    file,
  };
}
