/** What can go wrong in a simulation, and the plan of one seed: which faults, when, where and for how long. */
import { Dice } from "../checker/schedules/world";

/** `lasts`: between so many milliseconds. `says`: a sentence about the pod with this name. */
interface FaultRule {
  lasts: readonly [number, number];
  /** Takes the leases' or the watermarks' content away: no run has both, because S5 rests on the lease. */
  takes?: "lease" | "watermark";
  says: (pod: string, seconds: string) => string;
}

const process = (name: string) => ({
  ends: (pod: string, s: string) => `the ${name} of ${pod} is killed, and starts again after ${s}`,
  stops: (pod: string, s: string) => `the ${name} of ${pod} is stopped for ${s}`,
});

export const faultRules = {
  "elector-ends": { lasts: [200, 15_000], says: process("elector").ends },
  "gate-ends": { lasts: [200, 15_000], says: process("signing-gate").ends },
  "supervisor-ends": { lasts: [200, 15_000], says: process("supervisor").ends },
  "sidecar-ends": { lasts: [200, 15_000], says: process("sidecar").ends },
  "elector-stops": { lasts: [100, 20_000], says: process("elector").stops },
  "gate-stops": { lasts: [100, 20_000], says: process("signing-gate").stops },
  "supervisor-stops": { lasts: [100, 20_000], says: process("supervisor").stops },
  "machine-stops": { lasts: [100, 30_000], says: process("whole machine").stops },
  "machine-ends": { lasts: [1000, 60_000], says: (pod, s) => `the machine of ${pod} loses its power for ${s}` },
  "pod-evicted": { lasts: [1000, 30_000], says: (pod, s) => `${pod} is evicted, and made anew ${s} after its end` },
  "baker-ends": { lasts: [0, 0], says: (pod) => `octez-baker of ${pod} crashes` },
  "baker-hangs": { lasts: [0, 0], says: (pod) => `octez-baker of ${pod} hangs although its process lives` },
  "baker-ignores-sigterm": {
    lasts: [10_000, 60_000],
    says: (pod, s) => `octez-baker of ${pod} does not end on SIGTERM for ${s}`,
  },
  "api-refuses": { lasts: [200, 30_000], says: (pod, s) => `${pod} cannot connect to the API for ${s}` },
  "api-silent": { lasts: [200, 30_000], says: (pod, s) => `what ${pod} and the API send each other is lost for ${s}` },
  "api-down": { lasts: [200, 30_000], says: (_pod, s) => `the API is down for ${s}` },
  "api-slow": { lasts: [2000, 60_000], says: (pod, s) => `the API is slow for ${pod} for ${s}` },
  "api-late": {
    lasts: [5000, 60_000],
    says: (pod, s) =>
      `requests of ${pod} reach the API seconds late now and then for ${s}, even when it has given them up`,
  },
  "api-loses-answers": {
    lasts: [2000, 60_000],
    says: (pod, s) => `requests of ${pod} to the API and their answers are lost now and then for ${s}`,
  },
  "api-throttles": { lasts: [2000, 30_000], says: (pod, s) => `the API answers ${pod} often with 429 for ${s}` },
  "watch-silent": { lasts: [2000, 60_000], says: (pod, s) => `the watches of ${pod} tell nothing for ${s}` },
  "watch-gone": { lasts: [0, 0], says: (pod) => `the API answers the watches of ${pod} with 410` },
  "node-behind": { lasts: [5000, 60_000], says: (pod, s) => `the node of ${pod} hears of no block for ${s}` },
  "node-down": { lasts: [1000, 60_000], says: (pod, s) => `the node of ${pod} does not answer for ${s}` },
  "chain-halts": { lasts: [10_000, 200_000], says: (_pod, s) => `the chain finds no quorum for ${s}` },
  "chain-reorganises": { lasts: [0, 0], says: () => "the chain takes back its head" },
  "lease-deleted": { lasts: [0, 0], takes: "lease", says: () => "somebody deletes the leader lease" },
  "lease-restored": { lasts: [0, 0], takes: "lease", says: () => "the leader lease goes back to an old content" },
  "member-lease-deleted": { lasts: [0, 0], says: (pod) => `somebody deletes the member lease of ${pod}` },
  "watermark-deleted": {
    lasts: [500, 20_000],
    takes: "watermark",
    says: (_pod, s) => `somebody deletes a watermark, and makes it anew after ${s}`,
  },
  "watermark-restored": { lasts: [0, 0], takes: "watermark", says: () => "a watermark goes back to an old content" },
  "floor-raised": { lasts: [0, 0], says: () => "an operator raises the floor of a watermark" },
  "operator-moves": { lasts: [0, 0], says: (pod) => `an operator asks for ${pod} as master` },
  "operator-pauses": { lasts: [0, 0], says: () => "an operator pauses automatic handovers" },
  "disk-fails": { lasts: [1000, 30_000], says: (pod, s) => `writes to the disk of ${pod} fail now and then for ${s}` },
  "disk-slow": { lasts: [1000, 60_000], says: (pod, s) => `the disk of ${pod} is slow for ${s}` },
  "client-folder-full": { lasts: [5000, 60_000], says: (pod, s) => `the client folder of ${pod} is full for ${s}` },
  "signers-away": { lasts: [1000, 30_000], says: (pod, s) => `no signer answers ${pod} for ${s}` },
  "signers-bad": { lasts: [5000, 60_000], says: (_pod, s) => `signers refuse, hang and answer nonsense for ${s}` },
  "rogue-client": {
    lasts: [2000, 30_000],
    says: (pod, s) =>
      `somebody in ${pod} asks for absurd signatures for ${s}, and for other contents of the same places`,
  },
  "clock-jumps": { lasts: [1000, 60_000], says: (pod, s) => `the wall clock of ${pod} is wrong for ${s}` },
} satisfies Record<string, FaultRule>;
export type FaultKind = keyof typeof faultRules;
export const faultKinds = Object.keys(faultRules) as FaultKind[];
const ruleOf = (kind: FaultKind): FaultRule => faultRules[kind];

export interface Fault {
  kind: FaultKind;
  /** Ordinal of the pod that it is about, or the one that bakes, or one that does not, when it begins. */
  pod: number | "baking" | "other";
  atMs: number;
  forMs: number;
}

export const endOf = ({ atMs, forMs }: Fault): number => atMs + forMs;
export const inSeconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
export const sentenceOf = ({ kind, pod, forMs }: Fault, podName: (ordinal: number) => string): string =>
  ruleOf(kind).says(typeof pod === "number" ? podName(pod) : `the ${pod} pod`, inSeconds(forMs));

/** What goes wrong together: only in company do some faults show what they can do. */
const themes: readonly RegExp[] = [
  /^(api|watch)-|elector-stops/,
  /-(ends|stops|hangs)$/,
  /lease|operator|evicted/,
  /^(watermark|disk|floor)-|machine/,
  /^(rogue|signers|baker|chain)-|gate-ends/,
];

/** What may be drawn for one run: everything, what belongs together, or a few kinds again and again. */
function kindsOf(dice: Dice): readonly FaultKind[] {
  const others = dice.pick(["lease", "watermark"] as const);
  const allowed = faultKinds.filter((kind) => ruleOf(kind).takes !== others);
  const choice = dice.random();
  if (choice < 0.4) return allowed;
  const theme = dice.pick(themes);
  const related = allowed.filter((kind) => theme.test(kind));
  return choice < 0.7 ? related : Array.from({ length: dice.pick([1, 2, 3, 4]) }, () => dice.pick(allowed));
}

export function planOf(seed: number, pods: number): Fault[] {
  const dice = new Dice(seed);
  const kinds = kindsOf(dice);
  // The first election and the start of the daemons take some seconds; some faults come before their end.
  const beginMs = dice.pick([500, 20_000, 20_000]);
  const lastsMs = dice.pick([20_000, 60_000, 120_000]);
  const count = dice.pick([1, 2, 4, 8, 12]);
  const faults = Array.from({ length: count }, (): Fault => {
    const kind = dice.pick(kinds);
    const [least, most] = ruleOf(kind).lasts;
    // Short ones as often as long ones.
    const forMs = least === most ? least : Math.round(least * (most / least) ** dice.random());
    return { kind, pod: Math.floor(dice.random() * pods), atMs: Math.round(beginMs + dice.random() * lastsMs), forMs };
  });
  // Whatever else happens, somebody asks for other contents of the same places (S1).
  if (dice.chance(0.2))
    for (let i = dice.pick([1, 2, 4]); i > 0; i--)
      faults.push({
        ...{ kind: "rogue-client", pod: "baking", atMs: Math.round(beginMs + dice.random() * lastsMs) },
        forMs: Math.round(dice.between(2000, 30_000)),
      });
  return faults.sort((a, b) => a.atMs - b.atMs);
}
