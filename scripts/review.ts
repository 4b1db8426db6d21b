/**
 * What a plan of Terraform does to the bakers, in words: which pods restart and in which order, how many levels are at
 * risk, what somebody changed by hand, what the hardening loses, and what a month costs before and after. Pure: reads
 * plans (`terraform show -json`) and gives findings. `npm run diff` ends with it.
 */
import { labels, watermarkNamePattern } from "../contract/names";
import { first, list, podOf, workload, type Block, type Stacks } from "./blocks";
import { costOf } from "./cost";

/** `terraform show -json PLAN`, as far as it is read. */
export interface Plan {
  resource_changes?: PlannedChange[];
  /** What differs from the state although this program did not do it. */
  resource_drift?: PlannedChange[];
  prior_state?: { values?: { root_module?: { resources?: { type: string; name: string; values: Block }[] } } };
}
interface PlannedChange {
  address: string;
  type: string;
  name: string;
  mode: string;
  change: {
    actions: string[];
    before: Block | null;
    after: Block | null;
    before_sensitive?: unknown;
    after_sensitive?: unknown;
  };
}

type Action = "create" | "update" | "replace" | "delete";
interface Change {
  address: string;
  type: string;
  action: Action;
  before: Block;
  after: Block;
}

/** stops: nothing is signed for minutes or more; levels: a level or two; none: nothing is lost. */
export type Risk = "stops" | "levels" | "none";
export interface Finding {
  /** Whom it concerns; null for all. */
  baker: string | null;
  risk: Risk;
  text: string;
}
export interface Review {
  /** By stack. */
  changes: Record<string, Record<Action, number>>;
  findings: Finding[];
  /** What somebody changed outside Terraform, and what the deployment makes of it. */
  drift: string[];
  /** Containers that lose a rule of hardening. */
  hardening: string[];
  /** USD a month; null where the cluster is not ours or only one stack was planned. */
  cost: { before: Range | null; after: Range } | null;
}
interface Range {
  low: number;
  high: number;
}

const actionOf = (actions: readonly string[]): Action | undefined => {
  if (actions.includes("delete")) return actions.includes("create") ? "replace" : "delete";
  return (["create", "update"] as const).find((action) => actions.includes(action));
};

/** What a plan changes; data sources are left out. */
const changesOf = (plan: Plan): Change[] =>
  (plan.resource_changes ?? []).flatMap(({ address, type, mode, change }) => {
    const action = actionOf(change.actions);
    if (mode !== "managed" || action === undefined) return [];
    return [{ address, type, action, before: change.before ?? {}, after: change.after ?? {} }];
  });

const ends = ({ action }: Change): boolean => action === "delete" || action === "replace";
/** The object as it is, or as it will be where it is new. */
const object = ({ action, before, after }: Change): Block => (action === "create" ? after : before);
const metadata = (change: Change): Block => first(object(change).metadata);
const nameOf = (change: Change): string => String(metadata(change).name ?? object(change).name ?? change.address);
const bakerOf = (change: Change): string | null => {
  const value = (metadata(change).labels as Block | undefined)?.[labels.baker];
  return typeof value === "string" ? value : null;
};

/** What of a pod template decides whether pods restart; the rest is the provider's bookkeeping. */
const templateOf = (values: Block): string => {
  const template = first(first(values.spec).template);
  const { annotations, labels: own } = first(template.metadata);
  return JSON.stringify([annotations ?? {}, own ?? {}, template.spec]);
};
const containersOf = (values: Block): Map<string, Block> => {
  const pod = podOf(workload(values));
  return new Map([...list(pod.init_container), ...list(pod.container)].map((one) => [String(one.name), one]));
};

/** Why pods restart: new images by name, else the containers whose settings differ. */
function reason({ before, after }: Change): string {
  const old = containersOf(before);
  const changed = [...containersOf(after)].filter(
    ([name, one]) => JSON.stringify(one) !== JSON.stringify(old.get(name)),
  );
  const images = new Set(
    changed.filter(([name, { image }]) => old.get(name)?.image !== image).map(([, { image }]) => String(image)),
  );
  if (images.size > 0) return `new image ${[...images].join(", ")}`;
  if (changed.length > 0) return `other settings of ${changed.map(([name]) => name).join(", ")}`;
  return "another configuration";
}

type Rule = (change: Change, all: readonly Change[]) => Omit<Finding, "baker"> | undefined;
const stops = (text: string) => ({ risk: "stops" as const, text });
const levels = (text: string) => ({ risk: "levels" as const, text });
const harmless = (text: string) => ({ risk: "none" as const, text });

/** The pods that bake. */
const bakingPods: Rule = (change, all) => {
  if (change.type !== "kubernetes_stateful_set_v1") return undefined;
  const { action, before, after } = change;
  const name = nameOf(change);
  const other = all.find(
    (one) => one !== change && one.type === change.type && bakerOf(one) === bakerOf(change) && one.action !== "update",
  );
  if (other && action === "delete")
    return stops(
      `${name} ends and ${nameOf(other)} takes its place, on other disks. Nothing is signed from its end until a node of ${nameOf(other)} has caught up with the chain. Follow docs/runbooks/switching-the-flag.md: nonces are exported first.`,
    );
  if (other && action === "create") return undefined;
  if (action === "create")
    return harmless(`${name} is new. It signs as soon as its node has caught up with the chain.`);
  if (action === "delete") return stops(`${name} ends and nothing takes its place. Its disks stay.`);
  if (action === "replace")
    return stops(
      `${name} is deleted and made anew: all its pods end at once, and nothing is signed until one is back.`,
    );
  const [was, will] = [Number(first(before.spec).replicas), Number(first(after.spec).replicas)];
  const scaled = was === will ? "" : ` It has ${will} pods instead of ${was}.`;
  if (templateOf(before) === templateOf(after))
    return scaled === "" ? harmless(`${name} changes, and no pod restarts.`) : levels(`${name} changes.${scaled}`);
  return restart(name, will, reason(change), scaled);
};

/** A rolling update: Kubernetes replaces the pod with the highest number first. */
function restart(name: string, replicas: number, why: string, scaled: string): Omit<Finding, "baker"> {
  if (replicas < 2)
    return stops(
      `${name}-0 restarts (${why}). It is alone: nothing is signed until its node and its baker run again.${scaled}`,
    );
  const pods = Array.from({ length: replicas }, (_, i) => `${name}-${replicas - 1 - i}`);
  return levels(
    `${pods.join(", then ")}: each restarts and is ready before the next one ends (${why}). The master hands over before it ends: 0 levels are expected to be missed, at most ${replicas}.${scaled}`,
  );
}

/** Whether the baker goes on without the key of this watermark: its new baker.json names others. */
function leavesKey(change: Change, all: readonly Change[]): boolean {
  const files = all
    .filter((one) => one.type === "kubernetes_config_map_v1" && bakerOf(one) === bakerOf(change) && !ends(one))
    .flatMap(({ after }) =>
      Object.values((after.data as Record<string, unknown> | undefined | null) ?? {}).map(String),
    );
  const told = files.filter((text) => text.includes('"watermark"'));
  return told.length > 0 && told.every((text) => !text.includes(nameOf(change)));
}

const watermarks: Rule = (change, all) => {
  const name = nameOf(change);
  if (change.type !== "kubernetes_config_map_v1" || !watermarkNamePattern.test(name) || !ends(change)) return undefined;
  if (change.action === "delete" && leavesKey(change, all))
    return harmless(
      `The watermark ${name} goes with its key, which this baker no longer has. That key must not be active on the chain any more: npm run baker -- keys.`,
    );
  return stops(
    `DANGER: the watermark ${name} is deleted. It keeps a key from signing twice. Its next tenure starts above the chain, after several missed levels; a signature of a gate that is still running is refused. See docs/runbooks/watermark-lost.md.`,
  );
};

const everything: Rule = (change) => {
  const what = { google_container_cluster: "cluster", kubernetes_namespace_v1: "namespace" }[change.type];
  if (what === undefined || !ends(change)) return undefined;
  return stops(
    `DANGER: the ${what} ${nameOf(change)} is deleted, and with it every pod and every watermark. See docs/runbooks/destroy.md.`,
  );
};

const nodes: Rule = (change) => {
  if (change.type !== "google_container_node_pool" || change.action === "create") return undefined;
  if (ends(change))
    return stops(`The nodes of the pool ${nameOf(change)} are deleted together: every pod of every baker ends.`);
  const config = (values: Block) => JSON.stringify(first(values.node_config));
  if (config(change.before) === config(change.after)) return undefined;
  return levels(
    `The nodes of the pool ${nameOf(change)} are replaced one after the other. With the flag on, each baker hands over: at most 1 level for each node; with the flag off, nothing is signed while its pod moves. See docs/runbooks/gke-upgrade.md.`,
  );
};

const signers: Rule = (change) => {
  if (change.type === "kubernetes_deployment_v1") {
    if (ends(change)) return levels(`${nameOf(change)} ends: votes need another way to a signer.`);
    if (change.action !== "update" || templateOf(change.before) === templateOf(change.after)) return undefined;
    return levels(
      `The pod of ${nameOf(change)} restarts (${reason(change)}): votes wait for it or take another way to a signer.`,
    );
  }
  if (change.type !== "google_compute_address" || !ends(change)) return undefined;
  return levels(
    `The address ${nameOf(change)} changes. If it is the signer link's, tell the signer host the new one: docs/signer-link.md.`,
  );
};

const secretsOfBaker: Rule = (change) =>
  change.type === "kubernetes_secret_v1" && change.action === "update"
    ? harmless(`The secret ${nameOf(change)} gets a new value.`)
    : undefined;

const rules: readonly Rule[] = [everything, watermarks, bakingPods, nodes, signers, secretsOfBaker];
const gravity: readonly Risk[] = ["stops", "levels", "none"];

/** Most urgent first. */
function findingsOf(changes: readonly Change[]): Finding[] {
  const found = changes.flatMap((change) =>
    rules.flatMap((rule) => {
      const finding = rule(change, changes);
      return finding === undefined ? [] : [{ baker: bakerOf(change), ...finding }];
    }),
  );
  return found.sort((a, b) => gravity.indexOf(a.risk) - gravity.indexOf(b.risk));
}

/** The rules that every container keeps, as the provider names them. */
const hardened: readonly (readonly [rule: string, kept: (context: Block) => boolean])[] = [
  ["runs as root", (context) => context.run_as_user !== "0" && context.run_as_non_root !== false],
  ["may gain privileges", (context) => context.allow_privilege_escalation === false],
  ["is privileged", (context) => context.privileged !== true],
  ["writes to its root file system", (context) => context.read_only_root_filesystem === true],
  ["keeps capabilities", (context) => list(context.capabilities).some(({ drop }) => list(drop).length > 0)],
];
/** What each container of a workload breaks: "signing-gate runs as root". */
function broken(values: Block): string[] {
  return [...containersOf(values)].flatMap(([name, container]) => {
    const context = first(container.security_context);
    return hardened.flatMap(([rule, kept]) => (kept(context) ? [] : [`${name} ${rule}`]));
  });
}

function hardeningOf(changes: readonly Change[]): string[] {
  return changes
    .filter(({ type, action }) => /^kubernetes_(stateful_set|deployment)_v1$/.test(type) && action === "update")
    .flatMap((change) => {
      const before = new Set(broken(change.before));
      return broken(change.after)
        .filter((one) => !before.has(one))
        .map((one) => `${nameOf(change)}: ${one}`);
    });
}

/** What Kubernetes and the provider count by themselves. */
const bookkeeping =
  /^(id|metadata\.0\.(resource_version|generation|uid))$|\.metadata\.0\.(generation|resource_version|uid)$/;
/** Paths at which two values differ, with scalars as `before -> after`, but for what is a secret on either side. */
function differences(before: unknown, after: unknown, secrets: readonly unknown[], path: string[] = []): string[] {
  const at = path.join(".");
  if (JSON.stringify(before) === JSON.stringify(after) || bookkeeping.test(at)) return [];
  if (secrets.includes(true)) return [at];
  const inside = (value: unknown, key: string): unknown => (value as Block | null | undefined)?.[key];
  const branch = (value: unknown) => typeof value === "object" && value !== null;
  if (branch(before) && branch(after))
    return [...new Set([...Object.keys(before as object), ...Object.keys(after as object)])].flatMap((key) =>
      differences(
        inside(before, key),
        inside(after, key),
        secrets.map((secret) => inside(secret, key)),
        [...path, key],
      ),
    );
  const shown = (value: unknown) => (branch(value) ? "..." : (JSON.stringify(value) ?? "nothing").slice(0, 80));
  return [`${at} ${shown(before)} -> ${shown(after)}`];
}

/**
 * Only what this deployment sets back, or what is gone: the rest is what Google, Kubernetes and the daemons write
 * themselves.
 */
function driftOf(plan: Plan): string[] {
  const planned = new Map((plan.resource_changes ?? []).map(({ address, change }) => [address, change]));
  return (plan.resource_drift ?? []).flatMap(({ address, change }) => {
    const next = planned.get(address);
    const action = next && actionOf(next.actions);
    if (actionOf(change.actions) === "delete")
      return [
        `${address} was deleted by hand. This deployment ${action === "create" ? "makes it anew" : "leaves it so"}.`,
      ];
    if (next === undefined || action !== "update") return [];
    const secrets = [change.before_sensitive, change.after_sensitive];
    const setBack = new Set(differences(change.after, next.after, secrets).map(pathOf));
    const found = differences(change.before, change.after, secrets).filter((one) => setBack.has(pathOf(one)));
    if (found.length === 0) return [];
    const more = found.length > 5 ? ` and ${found.length - 5} more` : "";
    return [
      `${address} was changed by hand: ${found.slice(0, 5).join("; ")}${more}. This deployment sets it as configured.`,
    ];
  });
}
/** Of a difference as it is told. */
const pathOf = (difference: string): string => difference.split(" ")[0] ?? "";

/** What is deployed, in the form of cdk.tf.json. */
function deployed(plan: Plan): Stacks[string] {
  const resource: Record<string, Record<string, Block>> = {};
  for (const { type, name, values } of plan.prior_state?.values?.root_module?.resources ?? [])
    (resource[type] ??= {})[name] = values;
  return { resource };
}

/**
 * @param plans by stack, in the order of their deployment
 * @param synthesized cdk.tf.json by stack; undefined where nothing of it is to be paid for
 */
export function review(plans: Readonly<Record<string, Plan>>, synthesized: Stacks | undefined): Review {
  const byStack = Object.entries(plans).map(([stack, plan]) => [stack, changesOf(plan)] as const);
  const all = byStack.flatMap(([, changes]) => changes);
  const count = (changes: readonly Change[]) =>
    Object.fromEntries(
      (["create", "update", "replace", "delete"] as const).map((action) => [
        action,
        changes.filter((change) => change.action === action).length,
      ]),
    ) as Record<Action, number>;
  const { platform, baker } = plans;
  const before = platform && baker && { platform: deployed(platform), baker: deployed(baker) };
  const isThere = before?.platform.resource?.google_container_cluster !== undefined;
  const range = (stacks: Stacks): Range => {
    const { low, high } = costOf(stacks);
    return { low, high };
  };
  return {
    changes: Object.fromEntries(byStack.map(([stack, changes]) => [stack, count(changes)])),
    findings: findingsOf(all),
    drift: Object.values(plans).flatMap(driftOf),
    hardening: hardeningOf(all),
    cost: before && synthesized ? { before: isThere ? range(before) : null, after: range(synthesized) } : null,
  };
}
