/** What a laboratory can be that runs real Octez. */
import type { LabOptions } from "../lab";

type Asked = Pick<LabOptions, "blockMs" | "bakers" | "flag" | "predecessor" | "signers">;

/** @throws Error with all that was asked for and is only possible with the simulated chain */
export function checkOctezLimits({ blockMs, bakers, flag, predecessor, signers }: Asked): void {
  const problems = [
    blockMs % 1000 === 0 ? "" : `blocks of whole seconds (--block-time), got ${blockMs} ms`,
    (bakers ?? 1) === 1 ? "" : `one baker, got ${bakers}`,
    flag === false ? "experimental_active_standby_mode on: octez-baker itself knows no names of this cluster" : "",
    predecessor ? "our containers, got the predecessor's" : "",
    (signers ?? "hot") === "hot" ? "" : `the signer in the cluster (signers: hot), got ${signers}`,
  ].filter((problem) => problem !== "");
  if (problems.length > 0) throw new Error(`a laboratory with real Octez has ${problems.join("; ")}`);
}
