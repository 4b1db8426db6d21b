/**
 * From the operator's machine to the signer: each check with its remedy, in the order in which things depend on each
 * other.
 */
import type { ChainKeys } from "../contract/chain-keys";
import { leaderLeaseName } from "../contract/names";
import { signerLinkName } from "../contract/signer-link";
import { protocolOf } from "../tezos/protocols";
import { diagnose } from "../diagnosis/diagnose";
import { wholeSeconds } from "../diagnosis/facts";
import { inPlace, type Finding } from "../diagnosis/finding";
import { keysView } from "../diagnosis/keys";
import type { PodView } from "../diagnosis/objects";
import { announcedCode, protocolFindings, toldProtocols, type ToldProtocols } from "../diagnosis/rules/protocols";
import { signersView, type SignersOfPods } from "../diagnosis/signers";
import type { BakerView } from "../diagnosis/view";
import { ClusterError, type Cluster } from "./cluster";
import { readChainKeys } from "./keys";
import { readProtocols } from "./protocols";
import { readSigners } from "./signers";

export interface Check {
  name: string;
  state: "ok" | "warning" | "failed" | "skipped";
  text: string;
  remedy: string;
}
const check = (name: string, state: Check["state"], text: string, remedy = ""): Check => ({
  ...{ name, state, text, remedy },
});

const failure = (name: string, error: unknown, remedy: string): Check =>
  check(
    name,
    "failed",
    error instanceof Error ? error.message : String(error),
    error instanceof ClusterError && error.kind === "forbidden"
      ? "ask for the role that allows it (roles/container.developer, or a Role in the namespace)"
      : remedy,
  );

const neededRights: [verb: string, group: string, resource: string][] = [
  ["get", "coordination.k8s.io", "leases"],
  ["update", "coordination.k8s.io", "leases"],
  ["list", "", "configmaps"],
  ["list", "", "pods"],
];
async function checkRights(cluster: Cluster): Promise<Check> {
  try {
    const refused: string[] = [];
    for (const [verb, group, resource] of neededRights)
      if ((await cluster.allowed(verb, group, resource)) === false) refused.push(`${verb} ${resource}`);
    if (refused.length > 0) throw new ClusterError("forbidden", `not allowed: ${refused.join(", ")}`);
    return check("rights", "ok", "may read leases, watermarks and pods, and write the lease");
  } catch (error) {
    return failure("rights", error, "kubectl auth can-i --list");
  }
}

/** Nothing where there is no signer link. */
async function checkSignerLink(cluster: Cluster): Promise<Check[]> {
  try {
    const ranges = await cluster.sourceRanges(signerLinkName);
    if (!ranges) return [];
    const everybody = ranges.length === 0 || ranges.some((range) => range.endsWith("/0"));
    const text = everybody
      ? "everybody reaches the signer link's sshd, and can keep new tunnels out"
      : `${ranges.join(", ")} can reach the sshd`;
    const remedy = "write the addresses of your signer hosts into signer_link.source_ranges, then npm run deploy";
    return [check("signer link", everybody ? "warning" : "ok", text, everybody ? remedy : "")];
  } catch (error) {
    return [check("signer link", "skipped", error instanceof Error ? error.message : String(error))];
  }
}

function checkLease(seen: BakerView): Check {
  if (seen.topology === "solo") return check("lease", "skipped", "solo: no election");
  if (!seen.lease)
    return check(
      "lease",
      "failed",
      `lease ${leaderLeaseName(seen.baker)} does not exist`,
      `no elector has run yet: kubectl get pods -l baker=${seen.baker}; is an init container still importing its snapshot?`,
    );
  const { leaseTransitions } = seen.lease;
  const age = wholeSeconds(seen.leaseAgeSeconds);
  return seen.held
    ? check("lease", "ok", `${seen.holder} holds, epoch ${leaseTransitions}, renewed ${age} ago`)
    : check("lease", "failed", "nobody renews it", `kubectl logs -l baker=${seen.baker} -c elector --prefix`);
}

function checkPod({ metadata, phase, node, containers }: PodView): Check {
  const down = containers.filter(({ ready }) => !ready);
  const text = down
    .map(
      ({ name, waiting, restarts }) =>
        `${name}${waiting ? ` ${waiting}` : ""}${restarts > 0 ? ` (${restarts} restarts)` : ""}`,
    )
    .join(", ");
  return check(
    `pod ${metadata.name}`,
    phase !== "Running" ? "failed" : down.length === 0 ? "ok" : "warning",
    `${phase}${node ? ` on ${node}` : ""}${text ? `; not ready: ${text}` : ""}`,
    `kubectl describe pod ${metadata.name}`,
  );
}

const states = { critical: "failed", warning: "warning", note: "ok" } as const;
/** Whoever asks the doctor wants to know what to do weeks ahead, too. */
const stateOf = ({ severity, code }: Finding): Check["state"] =>
  code === announcedCode ? "warning" : states[severity];
const checkOf = (found: Finding): Check => check(found.code, stateOf(found), found.text, found.remedy);

/** What a view shows, well or not; `others`: what keys and signers show beside it. */
function checkView(seen: BakerView, others: readonly Check[]): Check[] {
  const { findings, signing, sentence } = diagnose(seen);
  return [
    checkLease(seen),
    ...(seen.pods.length === 0
      ? [
          check(
            "pods",
            "failed",
            `no pod with the label baker=${seen.baker}`,
            "npm run deploy; check --baker and --namespace",
          ),
        ]
      : []),
    ...seen.pods.map(checkPod),
    ...findings.map(checkOf),
    ...seen.members.flatMap(({ pod, fresh, record }) =>
      fresh && record?.eligible
        ? check(
            `member ${pod}`,
            "ok",
            `zone ${record.zone || "unknown"}, head ${record.headLevel}, ${record.signersAnswering} signers answer`,
          )
        : [],
    ),
    ...seen.watermarks.flatMap(({ name, record, highestLevel }) =>
      record
        ? check(
            `watermark ${name}`,
            "ok",
            `epoch ${record.epoch}, floor ${record.floor}, highest level ${highestLevel ?? "none"}`,
          )
        : [],
    ),
    // The same thing once, whoever found it.
    ...others.filter((one) => !findings.some(({ code, text }) => code === one.name && text === one.text)),
    check(
      "verdict",
      signing ? "ok" : "failed",
      sentence,
      signing ? "" : "the first failed check above is where to begin",
    ),
  ];
}

/** The chain's keys beside the baker's. A node that does not answer is the matter of other checks. */
async function checkKeys(seen: BakerView, chainKeys: () => Promise<ChainKeys>): Promise<Check[]> {
  try {
    const { keys, findings } = keysView(await chainKeys(), seen);
    const active = keys.filter(({ chain }) => chain.some((role) => role.startsWith("active")));
    return findings.length > 0
      ? findings.map(checkOf)
      : [
          check(
            "keys",
            "ok",
            `the baker has every key of the chain: ${active.map(({ address }) => address).join(", ")}`,
          ),
        ];
  } catch (error) {
    return [check("keys", "skipped", error instanceof Error ? error.message : String(error))];
  }
}

/** How each signer answers the baking pods, the ways through a tunnel and those by URL alike. */
async function checkSigners({ baker }: BakerView, signers: () => Promise<SignersOfPods>): Promise<Check[]> {
  try {
    return signersView(await signers(), baker).map(({ name, finding, text }) =>
      finding ? check(name, stateOf(finding), finding.text, finding.remedy) : check(name, "ok", text),
    );
  } catch (error) {
    return [check("signers", "skipped", error instanceof Error ? error.message : String(error))];
  }
}

/** Whether the pods know the protocols that run, come and are voted on. Without members that tell it a pod is asked. */
async function checkProtocols(seen: BakerView, protocols: () => Promise<ToldProtocols[]>): Promise<Check[]> {
  try {
    const members = toldProtocols(seen);
    const told = members.length > 0 ? members : await protocols();
    const findings = protocolFindings(told, seen.atMs);
    if (findings.length > 0) return findings.map(checkOf);
    const named = (hash: string) => protocolOf(hash)?.name ?? hash;
    const { running, proposal } = told[0] ?? { proposal: null };
    const voted = proposal ? `, the chain votes on ${named(proposal.hash)}` : "";
    return [check("protocols", "ok", `${named(running?.hash ?? "")} runs${voted}: the pods know it`)];
  } catch (error) {
    return [check("protocols", "skipped", error instanceof Error ? error.message : String(error))];
  }
}

/** What is asked inside of the baking pods. @default it is not looked at */
export interface AskedInPods {
  /** The delegate's keys as a node of the baker tells them. */
  chainKeys?: () => Promise<ChainKeys>;
  signers?: () => Promise<SignersOfPods>;
  protocols?: () => Promise<ToldProtocols[]>;
}

export const askPods = (cluster: Cluster, baker: string): AskedInPods => ({
  chainKeys: () => readChainKeys(cluster, baker),
  signers: () => readSigners(cluster, baker),
  protocols: () => readProtocols(cluster, baker),
});

/** Later checks are skipped, and say so, where one that they need has failed. */
export const doctor = async (
  cluster: Cluster,
  view: () => Promise<BakerView>,
  asked: AskedInPods = {},
): Promise<Check[]> =>
  (await examine(cluster, view, asked)).map((one) => ({ ...one, remedy: inPlace(one.remedy, cluster) }));

async function examine(cluster: Cluster, view: () => Promise<BakerView>, asked: AskedInPods): Promise<Check[]> {
  const checks: Check[] = [];
  try {
    await cluster.version();
    checks.push(check("cluster", "ok", `context ${cluster.context}, namespace ${cluster.namespace}`));
  } catch (error) {
    const remedy = "run the get-credentials command of the stack's outputs; is gke-gcloud-auth-plugin installed?";
    return [
      failure("cluster", error, remedy),
      ...["rights", "lease", "pods", "members", "watermarks", "verdict"].map((name) =>
        check(name, "skipped", "the cluster was not reached"),
      ),
    ];
  }
  checks.push(await checkRights(cluster), ...(await checkSignerLink(cluster)));
  try {
    const seen = await view();
    const { signers, chainKeys, protocols } = asked;
    const others = [
      ...(signers ? await checkSigners(seen, signers) : []),
      ...(chainKeys ? await checkKeys(seen, chainKeys) : []),
      ...(protocols ? await checkProtocols(seen, protocols) : []),
    ];
    checks.push(...checkView(seen, others));
  } catch (error) {
    checks.push(
      check("lease", "failed", error instanceof Error ? error.message : String(error), "see the checks above"),
    );
  }
  return checks;
}
