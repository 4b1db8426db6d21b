/**
 * The keys of a baker on the chain beside those that it was deployed with, and what is missing. Octez signs with a key
 * only where it was given it; what it was not given, nobody else signs.
 */
import type { ChainKeys } from "../contract/chain-keys";
import { watermarkName } from "../contract/names";
import { critical, note, stopped, warning, type Finding } from "./finding";
import type { BakerView, Member } from "./view";

export interface KeyView {
  address: string;
  /** Its name in the client folder; null where the baker was not given it. */
  alias: string | null;
  /** What it is on the chain; [] where the chain does not know it. */
  chain: string[];
  watermark: string;
  /** Signers that have shown its public key to the master's gate; null where no gate tells. */
  signers: number | null;
}
export interface KeysView {
  keys: KeyView[];
  /** Most urgent first. */
  findings: Finding[];
}

const page = "docs/runbooks/key-rotation.md";
const isBls = (address: string): boolean => address.startsWith("tz4");

/** "45 s", "12 min", "13 h", "3 days" */
export function duration(seconds: number): string {
  const units = [
    ["s", 1, 90],
    ["min", 60, 90 * 60],
    ["h", 3600, 48 * 3600],
    ["days", 86_400, Infinity],
  ] as const;
  const [unit, size] = units.find(([, , below]) => seconds < below) ?? units[3];
  return `${Math.round(seconds / size)} ${unit}`;
}
/** When a cycle begins, for people. */
function fromCycle(chain: ChainKeys, cycle: number): string {
  const blocks = (cycle - chain.cycle) * chain.blocksPerCycle - chain.cyclePosition;
  return `from cycle ${cycle}, in about ${duration(Math.max(0, blocks) * chain.blockSeconds)}`;
}

/** What each key of the chain is, by address. */
function rolesOf(chain: ChainKeys): Map<string, string[]> {
  const roles = new Map<string, string[]>();
  const add = (address: string, role: string) => roles.set(address, [...(roles.get(address) ?? []), role]);
  for (const kind of ["consensus", "companion"] as const) {
    const { active, pending } = chain[kind];
    if (active !== null) add(active, `active ${kind} key`);
    for (const { cycle, address } of pending) add(address, `${kind} key ${fromCycle(chain, cycle)}`);
  }
  return roles;
}

interface Known {
  chain: ChainKeys;
  view: BakerView;
  /** Addresses that the deployed file names. */
  given: ReadonlySet<string>;
  dal: boolean;
}

const deployRemedy = (list: string): string => `write it into ${list} and deploy, both well before that; ${page}`;

function consensusFindings({ chain, given }: Known): Finding[] {
  const { active, pending } = chain.consensus;
  return [
    ...(given.has(active)
      ? []
      : [
          stopped(
            "key-not-given",
            `${active} is the active consensus key, and the baker was not given it: it signs nothing`,
            `write it into consensus_keys and deploy at once; ${page}`,
          ),
        ]),
    ...pending.flatMap(({ cycle, address }) =>
      given.has(address)
        ? []
        : [
            critical(
              "next-key-not-given",
              `${address} is the consensus key ${fromCycle(chain, cycle)}, and the baker was not given it: nothing will be signed then`,
              deployRemedy("consensus_keys"),
            ),
          ],
    ),
  ];
}

/** A tz4 key attests the DAL with a companion key only; without it attestations go out without DAL content. */
function companionFindings({ chain, given, dal }: Known): Finding[] {
  const { active, pending } = chain.companion;
  const consensus = [{ cycle: chain.cycle, address: chain.consensus.active }, ...chain.consensus.pending];
  const bls = consensus.filter(({ address }) => isBls(address));
  if (!dal || bls.length === 0) return [];
  const companions = [
    ...(active === null ? [] : [{ cycle: chain.cycle, address: active }]),
    ...pending.map(({ cycle, address }) => ({ cycle, address })),
  ];
  const loss = "attestations have no DAL content and the DAL's rewards are lost";
  return [
    ...companions.flatMap(({ cycle, address }) =>
      given.has(address)
        ? []
        : [
            warning(
              "companion-not-given",
              `${address} is the companion key${cycle === chain.cycle ? "" : ` ${fromCycle(chain, cycle)}`}, and the baker was not given it: ${loss}`,
              deployRemedy("companion_keys"),
            ),
          ],
    ),
    ...bls
      .slice(0, 1)
      .flatMap(({ cycle, address }) =>
        companions.some((companion) => companion.cycle <= cycle)
          ? []
          : [
              warning(
                "companion-not-registered",
                `${address} signs ${cycle === chain.cycle ? "now" : fromCycle(chain, cycle)} and no companion key is registered until then: ${loss}`,
                `register one (octez-client set companion key for DELEGATE to COMPANION); ${page}`,
              ),
            ],
      ),
  ];
}

/** Without a gate nobody has asked the signer: that an active key signs shows by itself, of a next one nothing does. */
function notChecked(keys: readonly KeyView[]): Finding[] {
  const next = keys.filter(({ alias, chain }) => alias !== null && !chain.some((role) => role.startsWith("active")));
  return next.map(({ address }) =>
    warning(
      "key-not-checked",
      `not checked: there is no signing gate in this mode, so nobody has asked the signer for ${address}`,
      `on the signer host: curl -fsS http://127.0.0.1:6732/keys/${address}; ${page}`,
    ),
  );
}

/** An active key signs nothing then; a next one will not when the chain activates it. */
export const keyWithoutSigner = (address: string): Finding =>
  warning(
    "key-without-signer",
    `no signer has shown the public key of ${address}: nobody would sign with it`,
    "docs/runbooks/key-rotation.md#no-signer-shows-a-key",
  );

/** Keys that the baker was given, and that cannot sign when their time comes. */
function givenFindings({ view }: Known, keys: readonly KeyView[]): Finding[] {
  if (view.topology !== "active-standby") return notChecked(keys);
  const living = view.members.filter(({ fresh, record }) => fresh && record?.keys !== undefined);
  const without = ({ record }: Member, address: string) => !record?.keys?.some((key) => key.address === address);
  return keys
    .filter(({ alias }) => alias !== null)
    .flatMap(({ address, signers }) => {
      const mark = view.watermarks.find(({ name }) => name === watermarkName(address));
      const late = living.filter((member) => without(member, address)).map(({ pod }) => pod);
      return [
        ...(late.length > 0
          ? [
              warning(
                "key-not-taken-over",
                `${late.join(" and ")} ${late.length === 1 ? "was" : "were"} started without ${address}`,
                `the deploy that added it replaces the pods one after the other: kubectl rollout status statefulset/${view.baker}-as`,
              ),
            ]
          : []),
        ...(mark?.missing === "absent"
          ? [warning("watermark-absent", `${address} has no watermark object and signs nothing`, "npm run deploy")]
          : []),
        ...(late.length === 0 && mark?.missing === "empty" && view.held
          ? [
              warning(
                "watermark-not-begun",
                `the watermark of ${address} was never written: the key is not ready yet`,
                `it begins by itself within seconds; otherwise kubectl logs ${view.holder} -c signing-gate`,
              ),
            ]
          : []),
        ...(signers === 0 ? [keyWithoutSigner(address)] : []),
      ];
    });
}

/** Harmless, and a step of a rotation that is still to come or was forgotten. */
function unknownFindings({ chain }: Known, keys: readonly KeyView[]): Finding[] {
  return keys
    .filter(({ address, chain: roles }) => roles.length === 0 && address !== chain.delegate)
    .map(({ address, alias }) =>
      note(
        "key-not-on-chain",
        `${address} (${alias ?? ""}) is neither active nor pending on the chain`,
        `a next key: register it; one that was rotated out a cycle ago or more: take it out of the configuration; ${page}`,
      ),
    );
}

/** Pure. @throws Error where nothing is known of what the baker was deployed with */
export function keysView(chain: ChainKeys, view: BakerView): KeysView {
  const { file } = view;
  if (!file) throw new Error(`the config map of ${view.baker} cannot be read: what it was given is not known`);
  const roles = rolesOf(chain);
  const master = view.members.find(({ pod, fresh }) => pod === view.holder && fresh)?.record;
  const addresses = [...new Set([chain.delegate, ...roles.keys(), ...file.keys.map(({ address }) => address)])];
  const all = addresses.map((address): KeyView => {
    const mark = view.watermarks.find(({ name }) => name === watermarkName(address));
    const state = master?.keys?.find((key) => key.address === address);
    return {
      address,
      alias: file.keys.find((key) => key.address === address)?.alias ?? null,
      chain: roles.get(address) ?? [],
      watermark: mark?.record
        ? `floor ${mark.record.floor}, ${state?.state ?? "epoch " + mark.record.epoch}`
        : (mark?.missing ?? "none"),
      signers: state?.signers ?? null,
    };
  });
  // A delegate whose own key neither signs nor was given is no key of the baker.
  const keys = all.filter(
    ({ address, alias, chain: known }) => address !== chain.delegate || alias !== null || known.length > 0,
  );
  const dal = file.daemons.some(({ command }) => command.includes("--dal-node"));
  const known: Known = { chain, view, given: new Set(file.keys.map(({ address }) => address)), dal };
  return {
    keys,
    findings: [
      ...consensusFindings(known),
      ...companionFindings(known),
      ...givenFindings(known, keys),
      ...unknownFindings(known, keys),
    ],
  };
}
