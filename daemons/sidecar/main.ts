/**
 * sidecar: tells the kubelet and the elector how the pod's octez-node is.
 *
 * Guarantees: `/live` is 200 if and only if the node has said lately that it has at least one connection; `/ready` if
 * and only if it answers, follows our chain and its head is at most headMaxAgeSeconds old. Otherwise 503, and the
 * reason is said. Works with no network but the pod's. Does not: restart anything, ask the Kubernetes API, trust
 * `is_bootstrapped` (it is only shown). Beside it, where there is one, it watches the DAL node (dal-watch.ts).
 * `tog sidecar keys` prints the delegate's keys, as the node tells them (npm run baker -- keys), `tog sidecar signers`
 * how the signers answer this pod, `tog sidecar protocols` which protocols run and come (npm run baker -- doctor), and
 * `tog sidecar slots` what became of the delegate's slots (npm run baker -- rewards).
 */
import { ports } from "../../contract/ports";
import { systemClock as clock } from "../runtime/clock";
import { loadConfig } from "../runtime/config";
import { runDaemon } from "../runtime/lifecycle";
import { createLog } from "../runtime/log";
import { createOctezRpc } from "../runtime/octez-rpc";
import { printChainKeys } from "./chain-keys";
import { printChainSlots } from "./chain-slots";
import { createDalNode } from "./dal-node";
import { printProtocols } from "./protocol-watch";
import { runSidecar } from "./run";
import { printSigners } from "./signers";

export function main(): Promise<void> {
  const word = process.argv[3];
  if (word === "keys") return printChainKeys();
  if (word === "signers") return printSigners();
  if (word === "protocols") return printProtocols();
  if (word === "slots") return printChainSlots(process.argv[4]);
  if (word !== undefined) {
    console.error(`sidecar takes no argument, keys, signers, protocols or slots; got "${word}"`);
    process.exit(1);
  }
  const { env, file } = loadConfig("sidecar");
  const { TOG_POD_NAME: pod, TOG_POD_ADDRESS: host } = env;
  const log = createLog(pod, "sidecar");
  const rpc = createOctezRpc({ url: `http://${env.TOG_LOCAL_ADDRESS}:${ports.octezRpc}`, clock });
  const dal = file.dal ? createDalNode(`http://${env.TOG_LOCAL_ADDRESS}:${ports.dalRpc}`) : undefined;
  return runDaemon(log, (signal) => runSidecar({ file, pod, host, port: ports.sidecar, rpc, dal, log, clock, signal }));
}
