/**
 * The laboratory and `history` agree: scenarios run, and then the real command is asked. Every level that the chain of
 * the laboratory has as missed since the fault, and no other, is in `history` and in the sidecars' metrics; each
 * transition has its number; and no transition is dated before the fault.
 *
 * TOG_HISTORY: "short", "all" (by default), or names of scenarios. TOG_HISTORY_RECORD: a file for the table in
 * docs/failover.md. TOG_BLOCK_MS: milliseconds between blocks, 2000 by default.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { Lab } from "../../lab/lab";
import { scenarios } from "../../lab/scenarios/built-in";
import { historyExceptions, readHistoryRows, type HistoryRow } from "../../lab/scenarios/history-rows";
import { calm, runSteps } from "../../lab/scenarios/run";
import { missedKinds, type MissedSlot } from "../../contract/status";
import { bundlePath } from "../helpers/bundle";
import { chainOf, countedBySidecars, disagreements, historyOf, notListed, type Counted } from "../helpers/history";

const short = ["planned-switchover", "pod-kill", "baker-hang", "stale-head"];
const asked = process.env.TOG_HISTORY ?? "all";
const forms: Partial<Record<string, readonly string[]>> = { short, all: Object.keys(scenarios) };
const names = forms[asked] ?? asked.split(",");
const blockMs = Number(process.env.TOG_BLOCK_MS ?? "2000");

let lab: Lab | undefined;
afterEach(async () => {
  await lab?.stop();
  lab = undefined;
});

/** Once every sidecar has counted up to the block at `level`, or a minute is over. */
async function countedUpTo(running: Lab, level: number): Promise<Counted[]> {
  const endMs = performance.now() + 60_000;
  for (;;) {
    const counted = await countedBySidecars(running);
    if (performance.now() > endMs || counted.every((one) => one.level >= level)) return counted;
    await running.sleep(200);
  }
}
/**
 * By the sidecars that ran all the time: what their counts grew by, and what the chain has for the same blocks. A block
 * tells of the attestations of the level before it.
 */
function growths(running: Lab, before: readonly Counted[], after: readonly Counted[]): Growth[] {
  return after.flatMap((now) => {
    const then = before.find(({ life }) => life === now.life);
    if (!then || then.level < 0) return [];
    const between = (first: number, last: number) =>
      running.chain.levels.filter(({ level }) => level >= first && level <= last);
    return [
      {
        pod: now.pod,
        counted: { attestation: now.attestation - then.attestation, block: now.block - then.block },
        chain: {
          attestation: between(then.level, now.level - 1).filter((record) => record.attestationMissed === true).length,
          block: between(then.level + 1, now.level).filter((record) => record.blockMissed).length,
        },
      },
    ];
  });
}
interface Growth {
  pod: string;
  counted: Record<MissedSlot["kind"], number>;
  chain: Record<MissedSlot["kind"], number>;
}

function record(row: HistoryRow): void {
  const path = process.env.TOG_HISTORY_RECORD;
  if (path === undefined) return;
  const rows = existsSync(path) ? readHistoryRows(readFileSync(path, "utf8")) : [];
  const others = rows.filter(({ scenario }) => scenario !== row.scenario);
  writeFileSync(path, `[\n${[...others, row].map((one) => `  ${JSON.stringify(one)}`).join(",\n")}\n]\n`);
}

test.each(names)("%s", async (name) => {
  const scenario = scenarios[name];
  if (!scenario) throw new Error(`a scenario is one of ${Object.keys(scenarios).join(", ")}; got ${name}`);
  const { flag, signers, chain: parameters } = scenario;
  lab = await Lab.start({ blockMs, tog: await bundlePath(), seed: "history", ...parameters, flag, signers });
  const running = lab;
  await running.ready(240_000);
  await calm(running);
  const from = running.chain.head.level;
  const before = await countedUpTo(running, from);
  const receipt = await runSteps(running, scenario);
  const to = running.chain.levels.findLast(({ attestationMissed }) => attestationMissed !== null)?.level ?? from;
  const look = async () => {
    const told = await historyOf(running);
    const chain = chainOf(running, from, to, receipt.epochs.before, told.receipts);
    return { told, chain, found: disagreements(chain, told, from, to) };
  };
  // A sidecar sees a miss with the next head, and the member's lease has it with its next renewal.
  const endMs = performance.now() + Math.max(60_000, running.scaled(120_000));
  let last = await look();
  while (last.found.length > 0 && performance.now() < endMs) {
    await running.sleep(running.scaled(1000));
    last = await look();
  }
  const { told, chain, found } = last;
  const all = [...new Set([...chain.missed.attestation, ...chain.missed.block])].sort((a, b) => a - b);
  const grown = growths(running, before, await countedUpTo(running, to + 1));
  const wrong = grown.flatMap(({ pod, counted, chain: has }) =>
    missedKinds.flatMap((kind) =>
      counted[kind] === has[kind] ? [] : [`${pod} counted ${counted[kind]} missed (${kind}), the chain ${has[kind]}`],
    ),
  );
  const whose = told.missedSlots.filter(({ level }) => level > from && level <= to).map((slot) => slot.whose);
  const row: HistoryRow = {
    scenario: name,
    missed: all.length,
    transitions: chain.transitions.map(({ receipt: { epoch, missedLevels } }) => ({ epoch, missedLevels })),
    whose: {
      ours: whose.filter((word) => word === "ours").length,
      producer: whose.filter((word) => word === "producer").length,
      unknown: whose.filter((word) => word === "unknown").length,
    },
    sidecars: grown.length,
    disagreements: [...found, ...wrong],
    date: new Date().toISOString().slice(0, 10),
    load: Number((loadavg()[0] ?? 0).toFixed(1)),
  };
  record(row);
  process.stdout.write(`  ${name}: ${JSON.stringify(row)}\n  problems: ${JSON.stringify(receipt.problems)}\n`);
  const explained = (text: string) => historyExceptions[name] !== undefined && text.startsWith(notListed);
  expect([...found, ...wrong].filter((text) => !explained(text))).toEqual([]);
  // A busy machine can have missed a level before the fault, too, and the one at which the scenario began.
  expect(all).toEqual(expect.arrayContaining(receipt.missed.filter((level) => level > from)));
  expect(receipt.violations).toEqual([]);
});
