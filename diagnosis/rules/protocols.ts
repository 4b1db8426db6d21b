/** Protocols of the chain that the pods do not know: one that runs, one that begins, and one that is voted on. */
import type { ProtocolsStatus } from "../../contract/status";
import { protocolOf } from "../../tezos/protocols";
import type { Facts } from "../facts";
import { note, warning, type Finding, type Found } from "../finding";
import { duration } from "../keys";

export interface ToldProtocols extends ProtocolsStatus {
  /** Whose sidecar says so. */
  pod: string;
}

/** Of what is still weeks away: the doctor warns of it, and status only says it. */
export const announcedCode = "announced-protocol-unknown";

const page = "docs/runbooks/octez-upgrade.md#a-protocol-that-the-pods-do-not-know";
const remedy = (hash: string): string =>
  protocolOf(hash)
    ? `this checkout knows it: npm run publish-images, then npm run deploy; ${page}`
    : `a release of this project that knows it, and then a deploy; ${page}`;

type Told = { hash: string; known: boolean };
/** By hash, those that do not know what `of` gives of what they tell. */
function unknown<T extends Told>(all: readonly ToldProtocols[], of: (one: ToldProtocols) => T | null) {
  const found = new Map<string, { told: T; pods: string[] }>();
  for (const one of all) {
    const told = of(one);
    if (!told || told.known) continue;
    const entry = found.get(told.hash) ?? { told, pods: [] };
    found.set(told.hash, { ...entry, pods: [...entry.pods, one.pod] });
  }
  return [...found.values()].map(({ told, pods }) => ({
    told,
    doNotKnow: `${pods.join(" and ")} ${pods.length === 1 ? "does" : "do"} not know it`,
  }));
}

/** Pure. @param nowMs milliseconds since 1970 */
export function protocolFindings(all: readonly ToldProtocols[], nowMs: number): Finding[] {
  const running = unknown(all, (one) => one.running);
  const next = unknown(all, (one) => (one.next.hash === one.running.hash ? null : one.next));
  const announced = unknown(all, ({ proposal, next: { hash } }) => (proposal?.hash === hash ? null : proposal));
  return [
    ...running.map(({ told: { hash }, doNotKnow }) =>
      warning(
        "protocol-unknown",
        `protocol ${hash} runs, and ${doNotKnow}: the gate refuses whatever has a new form in it`,
        remedy(hash),
      ),
    ),
    ...next.map(({ told: { hash }, doNotKnow }) =>
      warning(
        "next-protocol-unknown",
        `protocol ${hash} begins with the next block, and ${doNotKnow}: the gate refuses whatever has a new form in it`,
        remedy(hash),
      ),
    ),
    ...announced.map(({ told: { hash, period, activatesAt }, doNotKnow }) => {
      const seconds = activatesAt === null ? NaN : (Date.parse(activatesAt) - nowMs) / 1000;
      const when = Number.isNaN(seconds)
        ? ""
        : `, would begin in about ${duration(Math.max(0, seconds))} at the earliest`;
      return note(announcedCode, `protocol ${hash} is in its ${period} period${when}, and ${doNotKnow}`, remedy(hash));
    }),
  ];
}

/** Of members that renew; a sidecar of an older version tells nothing. */
export const toldProtocols = ({ members }: Pick<Facts, "members">): ToldProtocols[] =>
  members.flatMap(({ pod, fresh, record }) => (fresh && record?.protocols ? [{ pod, ...record.protocols }] : []));

export const protocolRules = [(facts: Facts): Found => protocolFindings(toldProtocols(facts), facts.atMs)];
