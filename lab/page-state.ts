/** Everything that the page shows but the log. */
import { labels, leaderLeaseName, memberLeaseName, watermarkDataKey, watermarkName } from "../contract/names";
import { readWatermark } from "../contract/watermark";
import { diagnose } from "../diagnosis/diagnose";
import type { Diagnosis } from "../diagnosis/finding";
import { configMapView, leaseView, podView } from "../diagnosis/objects";
import { deploymentOf, viewOf, type BakerView, type Member as MemberFacts } from "../diagnosis/view";
import type { LevelRecord } from "./chain/chain-record";
import { directions, type Member } from "./cluster/member";
import type { Link } from "./cluster/link";
import { faults } from "./faults/faults";
import type { Lab } from "./lab";
import { signerOf, type Cases } from "./page-receipts";

export interface ActiveFault {
  id: number;
  name: string;
  atMs: number;
}

/** A way between two things of the picture. */
export interface Way {
  state: "open" | "slow" | "cut" | "dead";
  /** In words, also for whoever does not see the picture. */
  text: string;
}
const open: Way = { state: "open", text: "open" };
const wayOf = (links: readonly Link[]): Way => {
  const cut = links.filter(({ mode }) => mode !== "open");
  const delayMs = Math.max(0, ...links.map((link) => link.delayMs));
  if (cut.length > 0 && cut.length === links.length)
    return { state: "cut", text: cut.some(({ mode }) => mode === "refuse") ? "refused" : "cut, in silence" };
  if (cut.length > 0) return { state: "slow", text: `${cut.length} of ${links.length} cut` };
  return delayMs > 0 ? { state: "slow", text: `${Math.round(delayMs)} ms slower` } : open;
};

/** Who signs by the chain, and where nobody does, why by the diagnosis. */
export interface Headline {
  signer: string | null;
  sentence: string;
  /** What the diagnosis says against it, although the last level was signed; "" where nothing. */
  doubt: string;
}
export function headlineOf(
  signer: string | undefined,
  epoch: number | null,
  diagnosis: Diagnosis,
  hasSigned: boolean,
): Headline {
  const cause = diagnosis.findings.find(({ severity }) => severity === "critical")?.text;
  if (signer !== undefined)
    return {
      signer,
      sentence: `${signer} signs${epoch === null ? "" : `, epoch ${epoch}`}`,
      doubt: cause ?? "",
    };
  const yet = hasSigned ? "Nobody signs" : "Nobody signs yet";
  return { signer: null, sentence: `${yet}: ${cause ?? "the next level shows whether signing goes on"}`, doubt: "" };
}

function memberView(lab: Lab, member: Member, facts: MemberFacts | undefined, now: number) {
  const { pod, zone } = member;
  const holds = lab.lease?.holder === `${pod.name}_${pod.uid}`;
  const daemon = lab.trace.running("octez-baker").find((interval) => interval.uid === pod.uid);
  // Of a member that is silent nothing is known: what it once wrote may be long over.
  const record = facts?.fresh && !member.orphan ? facts.record : undefined;
  const head = record?.headLevel ?? null;
  const links = (direction: string) => member.links.filter((entry) => entry.direction === direction);
  return {
    ...{ pod: pod.name, uid: pod.uid.slice(0, 8), zone, gone: false },
    ...{ ready: pod.ready, phase: pod.phase, paused: pod.paused, orphan: member.orphan },
    down: lab.cluster.downZones.has(zone) || lab.cluster.downNodes.has(pod.name),
    holds,
    epoch: holds ? (lab.lease?.epoch ?? 0) : null,
    leaseLeftMs: holds && lab.lease ? Math.max(0, lab.lease.atMs + lab.lease.durationSeconds * 1000 - now) : null,
    leaseMs: (lab.lease?.durationSeconds ?? 0) * 1000,
    head,
    behind: head === null ? null : Math.max(0, lab.chain.head.level - head),
    daemon: daemon ? (daemon.readyMs === null ? "starting" : "running") : "stopped",
    known: record !== undefined,
    silentSeconds: facts && !facts.fresh ? Math.round(facts.ageSeconds ?? 0) : null,
    ...{ state: record?.state ?? "", reason: record?.reason ?? "", eligible: record?.eligible ?? null },
    ...{ noncesMissing: record?.noncesMissing ?? null, signers: record?.signersAnswering ?? null },
    containers: pod.containers.map(({ spec, state, restarts }) => ({ name: spec.name, state, restarts })),
    ways: Object.fromEntries(
      directions.map((direction) => [direction, wayOf(links(direction).map(({ link }) => link))]),
    ) as Record<(typeof directions)[number], Way>,
  };
}
type MemberView = ReturnType<typeof memberView>;

const levelView = (record: LevelRecord) => ({
  ...{ level: record.level, round: record.round, proposer: record.proposer },
  ...{ bakedBy: record.bakedBy, attestedBy: record.attestedBy },
  afterMs: record.attestedAfterMs === null ? null : Math.round(record.attestedAfterMs),
  ...{ missed: record.attestationMissed, blockMissed: record.blockMissed },
  ...{ commitment: record.commitment !== null, ours: record.blockRight },
});

/** Looks at a laboratory for the page: remembers which members there were, and when each lease was last written. */
export class PageState {
  private readonly writtenMs = new Map<string, number>();
  private readonly lastSeen = new Map<string, MemberView>();

  constructor(
    private readonly lab: Lab,
    private readonly cases: Pick<Cases, "receipts">,
  ) {
    lab.on("commit", ({ resource, name }) => {
      if (resource === "leases") this.writtenMs.set(name, Date.now());
    });
  }

  /** How long the API has been away for everybody. */
  private apiSilentSeconds(now: number): number | undefined {
    const last = this.lab.events.findLast(({ source, event }) => source === "fault" && event.startsWith("api-outage"));
    return last?.event === "api-outage" ? (now - last.atMs) / 1000 : undefined;
  }

  /** The same facts that `baker status` reads, from what the API has committed. */
  view(now: number): BakerView {
    const { lab } = this;
    const ours = <T extends { metadata: { labels: Record<string, string> } }>(objects: T[]): T[] =>
      objects.filter(({ metadata }) => metadata.labels[labels.baker] === lab.baker);
    const deployment = deploymentOf(
      lab.baker,
      ours(lab.objects("pods").map((object) => podView(object))),
      ours(lab.objects("configmaps").map((object) => configMapView(object))),
    );
    const lease = lab.object("leases", leaderLeaseName(lab.baker));
    const members = [0, 1, 2].flatMap((ordinal) => lab.object("leases", memberLeaseName(lab.baker, ordinal)) ?? []);
    // Clocks of pods can be stepped: what counts is when the API got it.
    const recentMs = deployment.timings.memberMaxAgeSeconds * 1000;
    const changed = new Set([...this.writtenMs].filter(([, atMs]) => now - atMs <= recentMs).map(([name]) => name));
    changed.delete(leaderLeaseName(lab.baker));
    const seen = {
      ...{ lease: lease && leaseView(lease), members: members.map((object) => leaseView(object)), changed },
      seenMs: { from: now - recentMs, to: now },
    };
    return { ...viewOf(deployment, seen, now), apiSilentSeconds: this.apiSilentSeconds(now) };
  }

  /** Those that are there, and greyed those that were. */
  private members(view: BakerView, now: number): MemberView[] {
    const { lab, lastSeen } = this;
    const there = lab.cluster.bakingMembers().map((member) =>
      memberView(
        lab,
        member,
        view.members.find(({ pod }) => pod === member.pod.name),
        now,
      ),
    );
    for (const member of there) lastSeen.set(member.pod, member);
    const gone = [...lastSeen.values()].filter(
      ({ pod }) => !there.some((member) => member.pod === pod) && pod.includes(lab.options.flag ? "-as-" : "-solo-"),
    );
    return [
      ...there,
      ...gone.map((member) => ({
        ...{ ...member, gone: true, ready: false, daemon: "stopped", known: false, leaseLeftMs: null, epoch: null },
        holds: lab.lease?.holder.startsWith(`${member.pod}_${member.uid}`) ?? false,
        ...{ eligible: null, head: null, behind: null, signers: null, noncesMissing: null, containers: [] },
      })),
    ].sort((a, b) => a.pod.localeCompare(b.pod) || Number(a.orphan) - Number(b.orphan));
  }

  private api(now: number): Way {
    const silent = this.apiSilentSeconds(now);
    if (silent !== undefined) return { state: "cut", text: `does not answer for ${Math.round(silent)} s` };
    const ends = (name: string) =>
      this.lab.events.findLast(({ source, event }) => source === "fault" && event.startsWith(name))?.event === name;
    if (ends("api-slow")) return { state: "slow", text: "answers late" };
    return ends("api-errors") ? { state: "slow", text: "fails at random" } : { state: "open", text: "answers" };
  }

  state(active: readonly ActiveFault[]) {
    const { lab } = this;
    const now = Date.now();
    const view = this.view(now);
    const { chain } = lab;
    const commitments = [...chain.commitments.values()];
    const diagnosis = diagnose(view);
    const signer = signerOf(chain.levels, now - 3 * lab.options.blockMs);
    return {
      ...{ now, baker: lab.baker, blockMs: lab.options.blockMs, flag: lab.options.flag, scale: lab.scale },
      doubleStartMs: lab.options.doubleStartMs * lab.scale,
      head: { level: chain.head.level, round: chain.head.round, ageMs: now - chain.head.atMs, halted: chain.halted },
      headline: headlineOf(signer, lab.lease?.epoch ?? null, diagnosis, lab.signatures.length > 0),
      findings: diagnosis.findings
        .filter(({ severity }) => severity !== "note")
        .map(({ severity, text }) => ({ severity, text })),
      active: signer ?? null,
      lease: lab.lease && {
        holder: lab.lease.holder.split("_")[0] ?? "",
        leftMs: lab.lease.atMs + lab.lease.durationSeconds * 1000 - now,
      },
      api: this.api(now),
      members: this.members(view, now),
      /** Outside of the cluster. */
      signersOutside: [...lab.cluster.network.homeSigners.keys()],
      tunnels: lab.cluster.network.tunnels.map(({ signer: name, zone, link }) => ({
        signer: name,
        zone,
        way: wayOf([link]),
      })),
      watermarks: lab.synthesis.bakers.slice(0, 1).flatMap(({ keys }) =>
        Object.keys(keys).map((key) => {
          const object = lab.object("configmaps", watermarkName(key)) as { data?: Record<string, string> } | undefined;
          const reading = readWatermark(object?.data?.[watermarkDataKey]);
          return { key, missing: object === undefined, record: reading.state === "record" ? reading.record : null };
        }),
      ),
      levels: chain.levels.slice(-60).map(levelView),
      nonces: {
        committed: commitments.length,
        revealed: commitments.filter((entry) => entry.revealedBy !== null).length,
        lost: commitments.filter((entry) => entry.lost).length,
      },
      signatures: lab.signatures.length,
      violations: lab.recentVerdict().map((violation) => `${violation.code}: ${violation.text}`),
      active_faults: active.map(({ id, name, atMs }) => ({
        ...{ id, name, title: faults[name]?.title ?? name, forMs: now - atMs },
      })),
      zones: lab.cluster.options.zones.map((zone) => ({ zone, down: lab.cluster.downZones.has(zone) })),
      receipts: this.cases.receipts.slice(-10),
    };
  }
}
