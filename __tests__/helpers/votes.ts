/**
 * What octez-node tells of protocols and votes. Nobody has recorded these paths from a program of ours: the forms are
 * those of the encodings in Octez' source (voting_period_repr.ml, voting_services.ml, block_services.ml), the first two
 * answers those that a node of mainnet gave in spring 2026.
 */
import type { Lie } from "./octez-node";

export const tallinn = "PtTALLiNtPec7mE7yY4m3k26J8Qukef3E3ehzhfXgFZKGtDdAXu";
export const ushuaiaHash = "PsUshuai9QapM5TGj1JpuVGkdxz5GykdnEvS6Rh8SUVrARvZLCY";
/** A protocol that this program has no row for: Alpha, as it is in Octez' source. */
export const unheardOf = "ProtoALphaALphaALphaALphaALphaALphaALphaALphaDdp3zK";

const head = "/chains/main/blocks/head";
export const votePaths = {
  protocols: `${head}/protocols`,
  period: `${head}/votes/current_period`,
  proposal: `${head}/votes/current_proposal`,
};
export const mainnetAnswers = {
  protocols: `{"protocol":"${tallinn}","next_protocol":"${tallinn}"}`,
  period:
    '{"voting_period":{"index":175,"kind":"promotion","start_position":13454688},"position":42674,"remaining":158925}',
  proposal: `"${ushuaiaHash}"`,
};
/** Makes a node of the tests answer so. */
export function answerVotes(lies: Map<string, Lie>, answers: Partial<typeof mainnetAnswers>): void {
  for (const name of ["protocols", "period", "proposal"] as const) {
    const text = answers[name];
    if (text === undefined) lies.delete(votePaths[name]);
    else lies.set(votePaths[name], { text });
  }
}
