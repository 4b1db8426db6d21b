/** Everything the cluster says about one baker, and what follows from it: who signs, and if nobody, why. */
import * as z from "zod/mini";
import { bakerFileSchema, memberPods, type BakerFile } from "../contract/baker-file";
import { annotations, holderPod, labels, leaderLeaseName, memberLeaseName, watermarkDataKey } from "../contract/names";
import { receiptSchema, type Receipt } from "../contract/receipt";
import { memberRecordSchema, type MemberRecord } from "../contract/status";
import { markKinds, readWatermark, type Watermark } from "../contract/watermark";
import { defaultTimings } from "../contract/timings";
import { secondsTime } from "../daemons/runtime/kube";
import type { Cluster, ConfigMapView, LeaseView, PodView } from "./cluster";

export interface Member {
  pod: string;
  zone: string;
  lease: LeaseView | undefined;
  record: MemberRecord | undefined;
  /** Renewed within the time that counts (memberMaxAge), by the clocks of writer and reader, or seen to change. */
  fresh: boolean;
  ageSeconds: number | undefined;
  /**
   * Seconds by which its wall clock seems to be ahead of this machine's (negative: behind); 0 where nothing speaks for
   * that.
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
export interface BakerView {
  baker: string;
  lease: LeaseView | undefined;
  /** True while the holder renews. */
  held: boolean;
  leaseAgeSeconds: number | undefined;
  holder: string;
  preferredHolder: string;
  members: Member[];
  watermarks: WatermarkView[];
  receipts: Receipt[];
  pods: PodView[];
  topology: "solo" | "active-standby" | "none";
  /** Pods that the topology has and the cluster has not. */
  missingPods: string[];
  /** Age of the newest head that a member has told of, by the clock of this machine. */
  headAgeSeconds: number | undefined;
  /** When it was read, milliseconds since 1970. */
  atMs: number;
  /** What the baker was deployed with; undefined where its config map cannot be read. */
  file: BakerFile | undefined;
}

export interface ViewOptions {
  now(): number;
  sleep(ms: number): Promise<void>;
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

/**
 * Reads leases, watermarks and pods of one baker. Clocks of machines differ: where a renewal looks old, the lease is
 * read again after its renewal period, and one that has changed counts as fresh.
 */
export async function readView(cluster: Cluster, baker: string, options: ViewOptions): Promise<BakerView> {
  const [allPods, allMaps] = await Promise.all([
    cluster.pods(`${labels.baker}=${baker}`),
    cluster.configMaps(`${labels.baker}=${baker}`),
  ]);
  const pods = allPods.filter((pod) => /-(as|solo)-\d+$/.test(pod.metadata.name));
  const files = allMaps.flatMap((map) => bakerFileSchema.safeParse(parseJson(map.data["baker.json"])).data ?? []);
  // While the flag is being switched there can be both: the one whose pods stay.
  const file =
    files.find((entry) => pods.some((pod) => !pod.deleting && memberPods(entry).includes(pod.metadata.name))) ??
    files[0];
  const topology =
    file?.topology ??
    (pods.some((pod) => pod.metadata.name.includes("-as-"))
      ? "active-standby"
      : pods.some((pod) => pod.metadata.name.includes("-solo-"))
        ? "solo"
        : "none");
  const { memberMaxAgeSeconds, memberRenewSeconds } = file?.timings ?? defaultTimings;
  const read = async () => {
    const lease = await cluster.lease(leaderLeaseName(baker));
    const members: LeaseView[] = [];
    for (let ordinal = 0; ; ordinal++) {
      const member = await cluster.lease(memberLeaseName(baker, ordinal));
      if (!member) break;
      members.push(member);
    }
    return { lease, members };
  };
  const age = (lease: LeaseView | undefined) =>
    lease?.renewTimeMs === undefined ? undefined : (options.now() - lease.renewTimeMs) / 1000;
  const young = (lease: LeaseView | undefined, limit: number) => {
    const seconds = age(lease);
    return seconds !== undefined && seconds <= limit && seconds >= -limit;
  };
  let { lease, members } = await read();
  const leaseLimit = lease?.leaseDurationSeconds ?? 0;
  const doubtful =
    (lease && lease.holderIdentity !== "" && !young(lease, leaseLimit)) ||
    members.some((member) => !young(member, memberMaxAgeSeconds));
  const changed = new Set<string>();
  if (doubtful) {
    const before = new Map(
      [lease, ...members].filter((l) => l !== undefined).map((l) => [l.metadata.name, l.metadata.resourceVersion]),
    );
    await options.sleep(memberRenewSeconds * 1250);
    ({ lease, members } = await read());
    for (const l of [lease, ...members])
      if (l && before.get(l.metadata.name) !== l.metadata.resourceVersion) changed.add(l.metadata.name);
  }
  const maps = allMaps.filter((map) => /^wm-[0-9a-f]{40}$/.test(map.metadata.name));
  const addresses = new Map(file?.keys.map((key) => [key.watermark, key.address]));
  const absent = [...addresses].filter(([name]) => !maps.some((map) => map.metadata.name === name));
  const watermarkOf = (map: ConfigMapView): WatermarkView => {
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
  };
  const newest = members.flatMap((member) => {
    const record = memberRecordSchema.safeParse(parseJson(member.metadata.annotations[annotations.member]));
    const at = record.success ? Date.parse(record.data.headTimestamp ?? "") : NaN;
    return Number.isNaN(at) ? [] : [at];
  });
  const held =
    lease !== undefined &&
    lease.holderIdentity !== "" &&
    (young(lease, leaseLimit) || changed.has(lease.metadata.name));
  return {
    baker,
    lease,
    held,
    leaseAgeSeconds: age(lease),
    holder: held ? holderPod(lease?.holderIdentity ?? "") : "",
    preferredHolder: lease?.metadata.annotations[annotations.preferredHolder] ?? "",
    members: members.map((member, ordinal) => {
      const isYoung = young(member, memberMaxAgeSeconds);
      const hasChanged = changed.has(member.metadata.name);
      const pod = `${baker}-as-${ordinal}`;
      const record = memberRecordSchema.safeParse(parseJson(member.metadata.annotations[annotations.member]));
      return {
        pod,
        zone:
          (record.success && record.data.zone) ||
          (pods.find((entry) => entry.metadata.name === pod)?.metadata.labels[labels.zone] ?? ""),
        lease: member,
        record: record.success ? record.data : undefined,
        fresh: isYoung || hasChanged,
        ageSeconds: age(member),
        // It renews, and yet its renewals look old or come from the future.
        clockSeconds: !isYoung && hasChanged ? Math.round(-(age(member) ?? 0)) : 0,
      };
    }),
    watermarks: [
      ...absent.map(([name, address]) => ({
        name,
        address,
        record: undefined,
        missing: "absent" as const,
        highestLevel: undefined,
      })),
      ...maps.map(watermarkOf),
    ],
    receipts: receiptsOf(lease),
    pods,
    topology,
    missingPods: file ? memberPods(file).filter((name) => !pods.some((pod) => pod.metadata.name === name)) : [],
    headAgeSeconds: newest.length > 0 ? (options.now() - Math.max(...newest)) / 1000 : undefined,
    atMs: options.now(),
    file,
  };
}

export interface Finding {
  /** note: it happened in the last ten minutes and is over. */
  severity: "note" | "warning" | "critical";
  /** Stable code in kebab-case. */
  code: string;
  text: string;
  remedy: string;
}
export interface Diagnosis {
  /** True where one member holds, may sign and has everything that it needs. */
  signing: boolean;
  /** One sentence: who signs, and if nobody, why. */
  sentence: string;
  findings: Finding[];
}

const lag = (members: Member[]): Map<string, number> => {
  const highest = Math.max(0, ...members.map((member) => member.record?.headLevel ?? 0));
  return new Map(members.map((member) => [member.pod, highest - (member.record?.headLevel ?? highest)]));
};
const seconds = (value: number | undefined): string => `${Math.max(0, Math.round(value ?? 0))} s`;
/** What is over is told this long; a daemon tells of its own as long (daemons/runtime/recent.ts). */
const recentMs = 600_000;
const podUid = (identity: string): string => identity.split("_")[1] ?? "";
/** Share of headMaxAgeSeconds (240 s) after which a head is worth a word: five blocks. */
const oldHead = 1 / 8;

/**
 * Pure: what a view means. The first critical finding is the reason in the sentence, so causes come before their
 * effects.
 */
export function diagnose(view: BakerView): Diagnosis {
  const findings: Finding[] = [];
  const add = (severity: Finding["severity"], code: string, text: string, remedy: string) =>
    findings.push({ severity, code, text, remedy });
  const starting = (pods: readonly PodView[], severity: Finding["severity"]) => {
    for (const { metadata, init, deleting } of pods)
      if (init !== "" && !deleting)
        add(
          severity,
          "pod-starting",
          `${metadata.name}: init container ${init} has not ended`,
          `kubectl logs ${metadata.name} -c ${init.split(" ")[0]}; a snapshot takes minutes to an hour, topology-guard waits for the other topology and its marks`,
        );
  };
  const missing = (severity: Finding["severity"]) => {
    for (const name of view.missingPods.filter((pod) => pod !== view.holder))
      add(
        severity,
        "pod-missing",
        `${name}: there is no such pod`,
        "kubectl describe statefulset; docs/runbooks/zone-loss.md",
      );
  };
  const verdict = (well: string): Diagnosis => {
    const critical = findings.find((finding) => finding.severity === "critical");
    const count = findings.filter((finding) => finding.severity === "warning").length;
    const warnings = count > 0 ? `; ${count} warning${count > 1 ? "s" : ""}` : "";
    return {
      signing: !critical,
      sentence: critical ? `nobody signs surely: ${critical.text}` : well + warnings,
      findings,
    };
  };

  /** What happened and is over. Last in every list, and no reason to doubt. */
  const notes = (): void => {
    for (const { metadata, containers } of view.pods)
      for (const { name, ended, restarts } of containers)
        if (ended && view.atMs - ended.atMs <= recentMs)
          add(
            "note",
            "container-ended",
            `${metadata.name}: container ${name} ended at ${secondsTime(ended.atMs)}: ${ended.how}, ${restarts} restart${restarts === 1 ? "" : "s"}`,
            `kubectl logs ${metadata.name} -c ${name} --previous`,
          );
    for (const { pod, record } of view.members)
      for (const text of record?.recent ?? []) add("note", "recent", `${pod}: ${text}`, `kubectl logs ${pod}`);
  };

  if (view.topology === "solo") {
    const pod = view.pods.find((entry) => entry.metadata.name.includes("-solo-"));
    for (const other of view.pods.filter((entry) => entry !== pod))
      add(
        "warning",
        "other-topology",
        `${other.metadata.name} of the other topology is still there`,
        "it ends by itself; the solo pod waits for that",
      );
    missing("critical");
    if (pod) {
      starting([pod], "critical");
      const down = pod.containers.filter((container) => !container.ready);
      if (pod.init === "" && down.length > 0)
        add(
          "critical",
          "containers-not-ready",
          `${pod.metadata.name}: not ready: ${down.map(({ name, waiting }) => `${name}${waiting ? ` (${waiting})` : ""}`).join(", ")}`,
          `kubectl logs ${pod.metadata.name} -c CONTAINER`,
        );
    } else if (view.missingPods.length === 0)
      add("critical", "no-baker", `no pod of baker ${view.baker}`, "check --baker and --namespace, or deploy");
    notes();
    return verdict(`${pod?.metadata.name} bakes alone (no standby, no fence)`);
  }

  const epoch = view.lease?.leaseTransitions ?? 0;
  const behind = lag(view.members);
  const fresh = view.members.filter((member) => member.fresh && member.record);
  const eligible = fresh.filter((member) => member.record?.eligible);
  const master = view.members.find((member) => member.pod === view.holder);
  const others = eligible.filter((member) => member !== master);

  // What is there at all.
  if (view.topology === "none" && !view.lease)
    add(
      "critical",
      "no-baker",
      `no pod and no lease of baker ${view.baker} in this namespace`,
      "check --baker and --namespace, or deploy",
    );
  for (const mark of view.watermarks.filter(({ missing: why }) => why === "absent"))
    add(
      "critical",
      "watermark-lost",
      `the watermark of ${mark.address} is gone: nothing is signed with that key`,
      "docs/runbooks/watermark-lost.md",
    );
  if (view.topology === "active-standby" && view.watermarks.length === 0)
    add("critical", "watermark-lost", "no watermark object: nothing may be signed", "docs/runbooks/watermark-lost.md");
  if (!view.held) starting(view.pods, "critical");
  if (view.topology !== "none" && !view.lease)
    add("critical", "no-lease", "no elector has made the lease yet", "kubectl get pods: do the pods run?");

  // Who holds, and what keeps the holder from signing.
  const why = (member: Member): string =>
    !member.record
      ? "no readable record"
      : member.fresh
        ? member.record.reason
        : `silent for ${seconds(member.ageSeconds)}`;
  const trouble = (member: Member, start: string): string | undefined =>
    member.record?.troubles?.find((text) => text.startsWith(start))?.slice(start.length);
  if (view.lease && !view.held) {
    if (eligible.length > 0)
      add(
        "critical",
        "no-holder",
        `nobody holds the lease; eligible: ${eligible.map((member) => member.pod).join(", ")}`,
        "a takeover is under way (lease + retry); if it stays: kubectl logs -c elector",
      );
    else
      add(
        "critical",
        "nobody-eligible",
        `nobody holds the lease and nobody is eligible (${view.members.map((member) => `${member.pod}: ${why(member)}`).join("; ")})`,
        "see the members; docs/runbooks/zone-loss.md",
      );
  }
  if (view.held && !master)
    add(
      "critical",
      "foreign-holder",
      `the holder ${view.lease?.holderIdentity} is no known member`,
      "kubectl get lease -o yaml",
    );
  if (view.held && master?.record) {
    const { record } = master;
    const holds = `${master.pod} holds and`;
    if (view.missingPods.includes(master.pod))
      add(
        "critical",
        "pod-missing",
        `${holds} its pod is gone`,
        "another member takes over when the lease has run out; docs/runbooks/zone-loss.md",
      );
    else if (!master.fresh)
      add(
        "critical",
        "member-silent",
        `${holds} has been silent for ${seconds(master.ageSeconds)}`,
        `its lease runs out soon; then: kubectl describe pod ${master.pod}; is its node up, can it reach the API?`,
      );
    for (const key of record.keys ?? [])
      if (key.state === "lost" || key.state === "refused")
        add(
          "critical",
          "key-lost",
          `${holds} signs nothing with ${key.address}: ${key.reason}`,
          "docs/runbooks/watermark-lost.md",
        );
    for (const mark of view.watermarks) {
      const key = record.keys?.find(({ address }) => address === mark.address);
      if (mark.record && record.headLevel !== null && mark.record.floor > record.headLevel)
        add(
          "critical",
          "floor-above-head",
          `${holds} signs nothing with ${mark.address} before level ${mark.record.floor + 1} (head ${record.headLevel})${key ? `: ${key.reason}` : ""}`,
          "it goes on by itself at that level; docs/runbooks/watermark-lost.md has the reasons",
        );
    }
    if (record.daemons === "crash-looping")
      add(
        "critical",
        "master-crash-looping",
        `${holds} a baking daemon crashes again and again`,
        `kubectl logs ${master.pod} -c baker`,
      );
    if (record.daemons === "stopped" || record.daemons === "unknown") {
      const ended = record.troubles?.find((text) => text.endsWith("is restarted"));
      add(
        "critical",
        "daemons-stopped",
        record.daemons === "unknown"
          ? `${holds} its supervisor does not answer`
          : `${holds} its baking daemons do not run: ${ended ?? (record.state === "active" ? "they start, or ended a moment ago" : `it is ${record.state}`)}`,
        `kubectl logs ${master.pod} -c baker`,
      );
    }
    if (record.signersAnswering === 0 && record.reason !== "gate-silent")
      add(
        "critical",
        "master-without-signer",
        `${holds} no signer answers it`,
        "docs/runbooks/signer-swap.md#no-signer-answers",
      );
    const limit = (view.file?.headMaxAgeSeconds ?? 240) * oldHead;
    if (!record.ready && others.length === 0)
      add(
        "critical",
        "chain-halt-or-stale",
        `${holds} every node is stale or unreachable: ${trouble(master, "node: ") ?? record.reason}`,
        "is the chain itself halted? otherwise peers and disk of both nodes: docs/runbooks/node-rebuild.md",
      );
    else if (view.headAgeSeconds !== undefined && view.headAgeSeconds > limit)
      add(
        "critical",
        "head-old",
        `the newest head of any member is ${seconds(view.headAgeSeconds)} old: the chain stands still, or no node follows it`,
        "compare with a block explorer; a halted chain needs nothing",
      );
    else if ((behind.get(master.pod) ?? 0) >= 2)
      add(
        "critical",
        "master-behind",
        `${holds} is ${behind.get(master.pod)} levels behind`,
        `it hands over to a member that is ahead; kubectl logs ${master.pod} -c octez-node`,
      );
    if (!record.eligible && record.state === "active" && !findings.some(({ severity }) => severity === "critical"))
      add(
        "critical",
        "master-not-eligible",
        `${holds} is not eligible: ${record.reason}`,
        `kubectl logs ${master.pod} -c elector`,
      );
    const pod = view.pods.find((entry) => entry.metadata.name === master.pod);
    if (
      pod &&
      podUid(view.lease?.holderIdentity ?? "") !== "" &&
      podUid(view.lease?.holderIdentity ?? "") !== pod.metadata.uid
    )
      add(
        "warning",
        "twin",
        `the holder is another ${master.pod} than the one that the cluster knows: it runs on where nobody reaches it, or has just ended`,
        "the lease and the watermark keep the two apart; do not force-delete pods (docs/runbooks/zone-loss.md)",
      );
  }

  // The watermarks that are there.
  for (const mark of view.watermarks) {
    if (mark.missing === "unreadable")
      add(
        "critical",
        "watermark-unreadable",
        `${mark.name}: unreadable, its key signs nothing`,
        "docs/runbooks/watermark-lost.md",
      );
    else if (mark.missing === "empty" && view.held)
      add(
        "warning",
        "watermark-empty",
        `${mark.name}: nothing was ever signed with this key`,
        "on a first start it fills with the first tenure; later: docs/runbooks/watermark-lost.md",
      );
    if (mark.record && view.held && mark.record.epoch < epoch)
      add(
        "warning",
        "watermark-not-raised",
        `${mark.name}: still at epoch ${mark.record.epoch}, the tenure is ${epoch}`,
        "the gate raises it at the start of a tenure: kubectl logs -c signing-gate",
      );
    if (mark.record && view.held && mark.record.epoch > epoch)
      add(
        "critical",
        "watermark-ahead",
        `${mark.name}: at epoch ${mark.record.epoch}, ahead of the lease (${epoch})`,
        "the holder acquires anew by itself; if it stays: docs/runbooks/watermark-lost.md",
      );
  }

  // What is wrong with members, whoever holds.
  if (view.held) starting(view.pods, "warning");
  missing("warning");
  for (const member of view.members) {
    const { record, pod } = member;
    if (!record)
      add(
        "critical",
        "member-record-broken",
        `${pod}: its member lease holds no readable record`,
        `kubectl logs ${pod} -c elector`,
      );
    else if (!member.fresh) {
      if (member !== master || !view.held)
        add(
          "warning",
          "member-silent",
          `${pod}: silent for ${seconds(member.ageSeconds)}`,
          `kubectl describe pod ${pod}; is its node up, can it reach the API?`,
        );
    } else {
      if (member.clockSeconds !== 0)
        add(
          "warning",
          "clock",
          `${pod}: its clock is ${Math.abs(member.clockSeconds)} s ${member.clockSeconds > 0 ? "ahead of" : "behind"} this machine's`,
          "one of the two is wrong: the ages of heads are judged by it",
        );
      if (!record.ready)
        add(
          "warning",
          "node-not-ready",
          `${pod}: node not ready: ${trouble(member, "node: ") ?? record.reason}`,
          `kubectl logs ${pod} -c octez-node; docs/runbooks/node-rebuild.md`,
        );
      if (record.signersAnswering === 0)
        add("warning", "no-signer", `${pod}: no signer answers`, "docs/runbooks/signer-swap.md#no-signer-answers");
      if (record.daemons === "crash-looping" && member !== master)
        add(
          "warning",
          "crash-looping",
          `${pod}: a baking daemon crashes again and again`,
          `kubectl logs ${pod} -c baker`,
        );
      if (record.noncesMissing > 0)
        add(
          "warning",
          "nonces-missing",
          `${pod}: ${record.noncesMissing} nonce commitments are not on another member`,
          "docs/runbooks/nonces.md",
        );
      if (member !== master && (behind.get(pod) ?? 0) >= 2)
        add("warning", "behind", `${pod}: ${behind.get(pod)} levels behind`, `kubectl logs ${pod} -c octez-node`);
      for (const text of record.troubles ?? [])
        if (!text.startsWith("node: ") && !text.startsWith("key "))
          add(
            "warning",
            "trouble",
            `${pod}: ${text}`,
            text.startsWith("nonces")
              ? "docs/runbooks/nonces.md"
              : text.startsWith("disk")
                ? "docs/runbooks/resize.md"
                : `kubectl logs ${pod}`,
          );
    }
  }
  if (view.held && view.members.length > 1 && others.length === 0)
    add(
      "warning",
      "no-standby",
      "no other member could take over now",
      "see the members above; docs/runbooks/zone-loss.md",
    );
  notes();
  return verdict(`${view.holder} signs (epoch ${epoch})`);
}
