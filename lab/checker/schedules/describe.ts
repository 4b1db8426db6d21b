import { parseSigningRequest } from "../../../tezos/signing-request";
import type { ScheduleResult } from "./scene";

/** For people who read a failing schedule: the two logs as one text. */
export function describe(result: ScheduleResult): string {
  const lines = [
    ...result.signed.map((entry) => {
      const parsed = parseSigningRequest(Uint8Array.from(Buffer.from(entry.bytes, "hex")));
      const what = parsed.ok
        ? `${parsed.request.kind} (${parsed.request.level}, ${parsed.request.round}) ${parsed.request.digest.slice(0, 8)}`
        : parsed.reason;
      return { at: entry.at, text: `signer ${entry.signer} ${entry.address.slice(0, 8)} ${what}` };
    }),
    ...result.commits.map((commit) => ({
      at: commit.at,
      text: `${commit.by} ${commit.address.slice(0, 8)} ${commit.uid} ${JSON.stringify(commit.record)}`,
    })),
  ];
  return [
    `seed ${result.seed} stuck ${result.stuck || "no"}`,
    ...result.violations.map((v) => `VIOLATION ${v.at.toFixed(3)} ${v.code} ${v.text}`),
    ...lines.sort((a, b) => a.at - b.at).map((line) => `${line.at.toFixed(3)} ${line.text}`),
  ].join("\n");
}
