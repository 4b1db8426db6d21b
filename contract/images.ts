import { bakingContainers, signerContainers } from "./containers";

/** How our images start a daemon. The bundle is one file; the first argument names the daemon. */
export const togProgram = "/usr/local/bin/tog";
export const togCommand = ["/sbin/tini", "--", togProgram] as const;
/** Below tini, a shell that starts the daemon again where it dies or falls silent (images/tog-init). */
export const daemonCommand = ["/sbin/tini", "--", "/usr/local/bin/tog-init", togProgram] as const;
export const daemonNames = [...Object.values(bakingContainers), ...Object.values(signerContainers)].flatMap((row) =>
  "daemon" in row ? [row.daemon] : [],
);
export type DaemonName = (typeof daemonNames)[number];
/** uid and gid of every process in a baking pod (user `tezos` of the Octez image). */
export const runAs = 1000;
export const defaultOctezVersion = "v25.1";
/** Octez releases with which this program was tested -> the protocols that their octez-baker was seen to bake. */
export const octezReleases: Readonly<Record<string, readonly string[]>> = {
  [defaultOctezVersion]: ["Ushuaia (025)"],
};
/** The last release; it signs the requests of Ushuaia (protocol 025). */
export const signatoryVersion = "v1.4.0";
export const signatoryImage = `docker.io/ecadlabs/signatory:${signatoryVersion}`;
export const octezImage = (version: string): string => `docker.io/tezos/tezos-bare:octez-${version}`;
/**
 * NODE_OPTIONS of our daemons: small heaps and one helper thread; some 3 MB less each. The images set it; the
 * laboratory and the benchmarks do too.
 */
export const nodeOptions = "--max-semi-space-size=1 --v8-pool-size=1";
