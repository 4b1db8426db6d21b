/** Everything the cluster says about one baker, and what follows from it: who signs, and if nobody, why. */
import * as z from "zod/mini";
import { annotations, holderPod, labels, leaderLeaseName, memberLeaseName, watermarkDataKey } from "../../contract/names";
import { receiptSchema, type Receipt } from "../../contract/receipt";
import { memberRecordSchema, type MemberRecord } from "../../contract/status";
import { markKinds, watermarkSchema, type Watermark } from "../../contract/watermark";
import type { Cluster, LeaseView, PodView } from "./cluster";

export interface Member {
  pod: string;
  lease: LeaseView | undefined;
  record: MemberRecord | undefined;
  /** Renewed within the time that counts (memberMaxAge), by the clocks of writer and reader, or seen to change. */
  fresh: boolean;
  ageSeconds: number | undefined;
}
export interface WatermarkView {
  name: string;
  address: string;
  record: Watermark | undefined;
  /** Why there is no record: "empty" (never written) or "unreadable". */
  missing: "" | "empty" | "unreadable";
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
}

export interface ViewOptions {
  now(): number;
  sleep(ms: number): Promise<void>;
  /** How old a member's record may be; the daemons' memberMaxAgeSeconds. */
  memberMaxAgeSeconds: number;
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
 * Reads leases, watermarks and pods of one baker. Clocks of machines differ: where a renewal looks old, the lease is read again after
 * its renewal period, and one that has changed counts as fresh.
 */
export async function readView(cluster: Cluster, baker: string, options: ViewOptions): Promise<BakerView> {
  const pods = (await cluster.pods(`${labels.baker}=${baker}`)).filter((pod) => /-(as|solo)-\d+$/.test(pod.metadata.name));
  const topology = pods.some((pod) => pod.metadata.name.includes("-as-"))
    ? "active-standby"
    : pods.some((pod) => pod.metadata.name.includes("-solo-"))
      ? "solo"
      : "none";
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
  const age = (lease: LeaseView | undefined) => (lease?.renewTimeMs === undefined ? undefined : (options.now() - lease.renewTimeMs) / 1000);
  const young = (lease: LeaseView | undefined, limit: number) => {
    const seconds = age(lease);
    return seconds !== undefined && seconds <= limit && seconds >= -limit;
  };
  let { lease, members } = await read();
  const leaseLimit = lease?.leaseDurationSeconds ?? 0;
  const doubtful =
    (lease && lease.holderIdentity !== "" && !young(lease, leaseLimit)) ||
    members.some((member) => !young(member, options.memberMaxAgeSeconds));
  const changed = new Set<string>();
  if (doubtful) {
    const before = new Map([lease, ...members].filter((l) => l !== undefined).map((l) => [l.metadata.name, l.metadata.resourceVersion]));
    await options.sleep(Math.max(2500, (options.memberMaxAgeSeconds * 1000) / 2));
    ({ lease, members } = await read());
    for (const l of [lease, ...members]) if (l && before.get(l.metadata.name) !== l.metadata.resourceVersion) changed.add(l.metadata.name);
  }
  const maps = (await cluster.configMaps(`${labels.baker}=${baker}`)).filter((map) => /^wm-[0-9a-f]{40}$/.test(map.metadata.name));
  const held = lease !== undefined && lease.holderIdentity !== "" && (young(lease, leaseLimit) || changed.has(lease.metadata.name));
  return {
    baker,
    lease,
    held,
    leaseAgeSeconds: age(lease),
    holder: held ? holderPod(lease?.holderIdentity ?? "") : "",
    preferredHolder: lease?.metadata.annotations[annotations.preferredHolder] ?? "",
    members: members.map((member, ordinal) => {
      const record = memberRecordSchema.safeParse(parseJson(member.metadata.annotations[annotations.member]));
      return {
        pod: `${baker}-as-${ordinal}`,
        lease: member,
        record: record.success ? record.data : undefined,
        fresh: young(member, options.memberMaxAgeSeconds) || changed.has(member.metadata.name),
        ageSeconds: age(member),
      };
    }),
    watermarks: maps.map((map) => {
      const text = map.data[watermarkDataKey];
      const record = watermarkSchema.safeParse(parseJson(text));
      const levels = record.success ? markKinds.flatMap((kind) => record.data.marks[kind]?.level ?? []) : [];
      return {
        name: map.metadata.name,
        address: map.metadata.annotations["tezos-on-gke/address"] ?? map.metadata.labels["address"] ?? map.metadata.name,
        record: record.success ? record.data : undefined,
        missing: record.success ? "" : text === undefined || text === "" ? "empty" : "unreadable",
        highestLevel: levels.length > 0 ? Math.max(...levels) : undefined,
      };
    }),
    receipts: receiptsOf(lease),
    pods,
    topology,
  };
}

export interface Finding {
  severity: "ok" | "warning" | "critical";
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
  return new Map(members.map((member) => [member.pod, highest - (member.record?.headLevel ?? 0)]));
};

/** Pure: what a view means. The first critical finding is the reason in the sentence. */
export function diagnose(view: BakerView): Diagnosis {
  const findings: Finding[] = [];
  const add = (severity: Finding["severity"], code: string, text: string, remedy: string) =>
    findings.push({ severity, code, text, remedy });
  if (view.topology === "solo") {
    const pod = view.pods[0];
    const down =
      pod?.containers
        .filter((container) => !container.ready)
        .map((container) => `${container.name}${container.waiting ? ` (${container.waiting})` : ""}`) ?? [];
    if (pod && down.length > 0)
      add(
        "critical",
        "containers-not-ready",
        `${pod.metadata.name}: not ready: ${down.join(", ")}`,
        `kubectl logs ${pod.metadata.name} -c CONTAINER`,
      );
    const critical = findings.find((finding) => finding.severity === "critical");
    return {
      signing: !critical && pod !== undefined,
      sentence: critical ? `nobody signs surely: ${critical.text}` : `${pod?.metadata.name} bakes alone (no standby, no fence)`,
      findings,
    };
  }
  const behind = lag(view.members);
  const fresh = view.members.filter((member) => member.fresh && member.record);
  const eligible = fresh.filter((member) => member.record?.eligible);
  if (view.topology === "none" && !view.lease)
    add("critical", "no-baker", `no pod and no lease of baker ${view.baker} in this namespace`, "check --baker and --namespace, or deploy");
  else if (!view.lease)
    add("critical", "no-lease", "no elector has made the lease yet", "kubectl get pods: is an init container still running (snapshot)?");
  for (const member of view.members) {
    if (!member.record)
      add(
        "critical",
        "member-record-broken",
        `${member.pod}: its member lease holds no readable record`,
        `kubectl logs ${member.pod} -c elector`,
      );
    else if (!member.fresh)
      add(
        view.holder === member.pod ? "critical" : "warning",
        "member-silent",
        `${member.pod}: silent for ${Math.round(member.ageSeconds ?? 0)} s`,
        `kubectl describe pod ${member.pod}; is its node up, can it reach the API?`,
      );
    else {
      const { record } = member;
      if (!record.ready)
        add("warning", "node-not-ready", `${member.pod}: node not ready: ${record.reason}`, `kubectl logs ${member.pod} -c octez-node`);
      if (record.signersAnswering === 0)
        add(
          "warning",
          "no-signer",
          `${member.pod}: no signer answers`,
          "signer-host doctor at home; kubectl get pods -l app.kubernetes.io/component=signer-link",
        );
      if (record.daemons === "crash-looping")
        add("warning", "crash-looping", `${member.pod}: a baking daemon crashes again and again`, `kubectl logs ${member.pod} -c baker`);
      if (record.noncesMissing > 0)
        add(
          "warning",
          "nonces-missing",
          `${member.pod}: ${record.noncesMissing} nonce commitments are not on another member`,
          "docs/runbooks/nonces.md",
        );
      if ((behind.get(member.pod) ?? 0) >= 2)
        add("warning", "behind", `${member.pod}: ${behind.get(member.pod)} levels behind`, `kubectl logs ${member.pod} -c octez-node`);
    }
  }
  for (const mark of view.watermarks) {
    if (mark.missing === "unreadable")
      add("critical", "watermark-unreadable", `${mark.name}: unreadable, its key signs nothing`, "docs/runbooks/watermark-lost.md");
    else if (mark.missing === "empty" && view.held)
      add(
        "warning",
        "watermark-empty",
        `${mark.name}: nothing was ever signed with this key`,
        "on a first start it fills with the first tenure; later: docs/runbooks/watermark-lost.md",
      );
    if (mark.record && view.held && mark.record.epoch < (view.lease?.leaseTransitions ?? 0)) {
      add(
        "warning",
        "watermark-not-raised",
        `${mark.name}: still at epoch ${mark.record.epoch}, the tenure is ${view.lease?.leaseTransitions}`,
        "the gate raises it at the start of a tenure: kubectl logs -c signing-gate",
      );
    }
    if (mark.record && view.held && mark.record.epoch > (view.lease?.leaseTransitions ?? 0)) {
      add(
        "critical",
        "watermark-ahead",
        `${mark.name}: at epoch ${mark.record.epoch}, ahead of the lease (${view.lease?.leaseTransitions})`,
        "the holder acquires anew by itself; if it stays: docs/runbooks/watermark-lost.md",
      );
    }
  }
  if (view.topology === "active-standby" && view.watermarks.length === 0)
    add("critical", "watermark-lost", "no watermark object: nothing may be signed", "docs/runbooks/watermark-lost.md");
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
        `nobody holds the lease and nobody is eligible${fresh.length === 0 ? ": every member is silent" : ""}`,
        "see the members above",
      );
  }
  const master = view.members.find((member) => member.pod === view.holder);
  if (view.held && master?.record) {
    const { record } = master;
    if (!record.ready && eligible.length === 0)
      add(
        "critical",
        "chain-halt-or-stale",
        `${master.pod} holds; every node is stale or unreachable: ${record.reason}`,
        "is the chain itself halted? otherwise peers and disk of both nodes",
      );
    if (record.signersAnswering === 0)
      add("critical", "master-without-signer", `${master.pod} holds and no signer answers it`, "signer-host doctor");
    if (record.daemons === "stopped")
      add(
        "critical",
        "daemons-stopped",
        `${master.pod} holds and its baking daemons do not run (${record.state}: ${record.reason})`,
        `kubectl logs ${master.pod} -c baker`,
      );
    if (record.daemons === "crash-looping")
      add(
        "critical",
        "master-crash-looping",
        `${master.pod} holds and a baking daemon crashes again and again`,
        `kubectl logs ${master.pod} -c baker`,
      );
  } else if (view.held && !master)
    add("critical", "foreign-holder", `the holder ${view.lease?.holderIdentity} is no known member`, "kubectl get lease -o yaml");
  if (view.held && view.members.length > 1 && eligible.filter((member) => member.pod !== view.holder).length === 0) {
    add("warning", "no-standby", "no other member could take over now", "see the members above");
  }
  const critical = findings.find((finding) => finding.severity === "critical");
  const sentence = critical
    ? `nobody signs surely: ${critical.text}`
    : `${view.holder} signs (epoch ${view.lease?.leaseTransitions ?? 0})${findings.length > 0 ? `; ${findings.length} warning${findings.length > 1 ? "s" : ""}` : ""}`;
  return { signing: !critical, sentence, findings };
}
