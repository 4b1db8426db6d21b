/** The planned switchover as an ordinary act: a plan with objections, then the wish on the lease, then the receipt. */
import { annotations, leaderLeaseName } from "../contract/names";
import type { Receipt } from "../contract/receipt";
import { receiptsOf, type BakerView, type Member } from "../diagnosis/view";
import { ClusterError, UsageError, type Cluster } from "./cluster";
import { writeLeaderNotes } from "./leader-notes";
import { readView, type ViewOptions } from "./view";

export interface SwitchoverPlan {
  from: string;
  to: string;
  steps: string[];
  /** What speaks against it; the elector itself would wait or refuse. Empty: go. */
  objections: string[];
}

const levelsBehind = ({ record }: Member, highest: number): number => highest - (record?.headLevel ?? 0);
const dalUnwell = ({ record }: Member): boolean => record?.dal?.well === false;

/** As the electors choose: eligible, up with the chain, its DAL node well, highest head. */
function bestTarget(others: readonly Member[], highest: number): Member | undefined {
  const able = (member: Member) => member.fresh && member.record?.eligible === true;
  const behind = (member: Member) => levelsBehind(member, highest);
  return [...others].sort(
    (a, b) =>
      Number(able(b)) - Number(able(a)) ||
      Number(behind(a) >= 2) - Number(behind(b) >= 2) ||
      Number(dalUnwell(a)) - Number(dalUnwell(b)) ||
      behind(a) - behind(b),
  )[0];
}

/**
 * Pure. `to` undefined: the eligible member that is up with the chain, and whose DAL node is well. @throws UsageError
 * where the wish names no other member
 */
export function planSwitchover(view: BakerView, to?: string): SwitchoverPlan {
  const others = view.members.filter((member) => member.pod !== view.holder);
  if (view.topology === "solo")
    throw new UsageError(`a switchover needs the active-standby topology; ${view.baker} is solo`);
  const names = others.map((member) => member.pod);
  if (to !== undefined && !names.includes(to))
    throw new UsageError(
      `--to names a member that does not hold the lease (${names.join(", ") || "there is none"}); got "${to}"`,
    );
  const highest = Math.max(0, ...view.members.map((member) => member.record?.headLevel ?? 0));
  const target = to === undefined ? bestTarget(others, highest) : others.find((member) => member.pod === to);
  if (!target) throw new UsageError(`${view.baker} has no other member to switch to`);
  const objections: string[] = [];
  if (!view.held) objections.push("nobody holds the lease now: the electors decide by themselves");
  if (!target.record) objections.push(`${target.pod} has no readable member record`);
  else {
    if (!target.fresh) objections.push(`${target.pod} has been silent for ${Math.round(target.ageSeconds ?? 0)} s`);
    if (!target.record.eligible) objections.push(`${target.pod} is not eligible: ${target.record.reason}`);
    if (target.record.signersAnswering === 0) objections.push(`no signer answers ${target.pod}`);
    const behind = levelsBehind(target, highest);
    if (behind >= 2) objections.push(`${target.pod} is ${behind} levels behind`);
    if (dalUnwell(target) && view.members.some((member) => member.record?.dal?.well))
      objections.push(`the DAL node of ${target.pod} is not well: it would hand over again after a pause`);
  }
  const missing = Math.max(0, ...view.members.map((member) => member.record?.noncesMissing ?? 0));
  if (missing > 0) objections.push(`${missing} nonce commitments are not on another member yet`);
  return {
    from: view.holder,
    to: target.pod,
    steps: [
      `write the wish ${annotations.preferredHolder}=${target.pod} on lease ${leaderLeaseName(view.baker)}`,
      `${view.holder || "the holder"} waits for a moment without a baking right (at most 30 s), shuts its gate, stops its daemons, pushes its nonces and releases`,
      `${target.pod} acquires with epoch ${(view.lease?.leaseTransitions ?? 0) + 1}, raises the watermarks and starts its daemons`,
      "wait for the receipt",
    ],
    objections,
  };
}

const writeWish = (cluster: Cluster, name: string, value: string, options: Pick<ViewOptions, "sleep">) =>
  writeLeaderNotes(cluster, name, { [annotations.preferredHolder]: value }, options);

/**
 * Takes the wish back, for instance of a command that was killed. @returns the pod that was wished for, "" where there
 * was none
 */
export async function cancelSwitchover(
  cluster: Cluster,
  baker: string,
  options: Pick<ViewOptions, "sleep">,
): Promise<string> {
  const before = await writeWish(cluster, leaderLeaseName(baker), "", options);
  return before.metadata.annotations[annotations.preferredHolder] ?? "";
}

/**
 * Writes the wish and waits until the target holds. @throws Error after `timeoutSeconds` and where `interrupted`; the
 * wish is then taken back
 * @returns the receipt of the transition
 */
export async function performSwitchover(
  cluster: Cluster,
  plan: SwitchoverPlan,
  baker: string,
  options: ViewOptions & { timeoutSeconds: number; interrupted?: AbortSignal; progress(line: string): void },
): Promise<Receipt | undefined> {
  const name = leaderLeaseName(baker);
  const wish = (value: string) => writeWish(cluster, name, value, options);
  const before = await wish(plan.to);
  options.progress(`asked for ${plan.to}`);
  const deadline = options.now() + options.timeoutSeconds * 1000;
  let state = "";
  while (options.now() < deadline) {
    if (options.interrupted?.aborted) {
      await wish("");
      throw new Error(`interrupted before ${plan.to} held; the wish was taken back`);
    }
    const view = await readView(cluster, baker, options);
    const now = view.members.map((member) => `${member.pod} ${member.record?.state ?? "?"}`).join(", ");
    if (now !== state) options.progress((state = now));
    if (view.holder === plan.to && (view.lease?.leaseTransitions ?? 0) > before.leaseTransitions) {
      // The receipt is completed once the new master signs and the chain shows what was missed.
      for (let attempt = 0; attempt < 40 && !options.interrupted?.aborted; attempt++) {
        const receipt = receiptsOf(await cluster.lease(name)).find(
          (entry) => entry.epoch > before.leaseTransitions && entry.to.startsWith(plan.to),
        );
        if (receipt && (receipt.missedLevels !== null || attempt === 39)) return receipt;
        await options.sleep(1000);
      }
      return undefined;
    }
    await options.sleep(500);
  }
  await wish("");
  throw new Error(
    `${plan.to} has not taken over within ${options.timeoutSeconds} s; the wish was taken back. \`status\` says what holds it up`,
  );
}

export interface DrillStep {
  name: string;
  ok: boolean;
  milliseconds: number;
  text: string;
}

/** Every check and every request of a switchover, timed, without giving up the lease: the writes are dry runs. */
export async function drill(cluster: Cluster, view: BakerView, clock: { nowMs(): number }): Promise<DrillStep[]> {
  const steps: DrillStep[] = [];
  const step = async (name: string, action: () => Promise<string>) => {
    const start = clock.nowMs();
    try {
      const text = await action();
      steps.push({ name, ok: true, milliseconds: clock.nowMs() - start, text });
    } catch (error) {
      steps.push({
        name,
        ok: false,
        milliseconds: clock.nowMs() - start,
        text: error instanceof Error ? error.message : String(error),
      });
    }
  };
  await step("plan", () => {
    const plan = planSwitchover(view);
    if (plan.objections.length > 0) throw new Error(plan.objections.join("; "));
    return Promise.resolve(`${plan.from} -> ${plan.to}`);
  });
  const name = leaderLeaseName(view.baker);
  await step("read the lease", async () => {
    const lease = await cluster.lease(name);
    if (!lease) throw new Error(`lease ${name} does not exist`);
    return `epoch ${lease.leaseTransitions}`;
  });
  await step("write the wish (dry run)", async () => {
    for (let attempt = 0; ; attempt++) {
      const lease = await cluster.lease(name);
      if (!lease) throw new Error(`lease ${name} does not exist`);
      try {
        await cluster.annotateLease(
          lease,
          { [annotations.preferredHolder]: view.members.find((member) => member.pod !== view.holder)?.pod ?? "" },
          true,
        );
        return "accepted";
      } catch (error) {
        if (!(error instanceof ClusterError) || error.kind !== "conflict" || attempt >= 20) throw error;
      }
    }
  });
  for (const member of view.members) {
    await step(`member ${member.pod}`, () => {
      if (!member.record) throw new Error("no readable record");
      if (!member.fresh) throw new Error(`silent for ${Math.round(member.ageSeconds ?? 0)} s`);
      if (!member.record.eligible && member.pod !== view.holder)
        throw new Error(`not eligible: ${member.record.reason}`);
      return Promise.resolve(
        `head ${member.record.headLevel}, ${member.record.signersAnswering} signers, ${member.record.noncesMissing} nonces missing`,
      );
    });
  }
  for (const mark of view.watermarks) {
    await step(`watermark ${mark.name}`, () => {
      if (mark.missing === "unreadable") throw new Error("unreadable");
      return Promise.resolve(
        mark.record ? `epoch ${mark.record.epoch}, highest level ${mark.highestLevel ?? "none"}` : "empty",
      );
    });
  }
  return steps;
}
