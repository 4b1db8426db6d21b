import { setFlagsFromString } from "node:v8";

/** The one program of our images: `tog <daemon>`. Each daemon is loaded only when it is asked for. */
const daemons: Record<string, () => Promise<{ main(): Promise<void> }>> = {
  elector: () => import("./elector/main"),
  sidecar: () => import("./sidecar/main"),
  "baker-supervisor": () => import("./baker-supervisor/main"),
  "signing-gate": () => import("./signing-gate/main"),
  "nonce-exposer": () => import("./nonce-exposer/main"),
  "nonce-importer": () => import("./nonce-importer/main"),
  "hot-keys": () => import("./hot-keys/main"),
  "topology-guard": () => import("./topology-guard/main"),
};

const name = process.argv[2] ?? "";
const load = daemons[name];
if (!load) {
  console.error(
    JSON.stringify({
      level: "error",
      event: "usage",
      reason: `the first argument names the daemon: one of ${Object.keys(daemons).join(", ")}; got "${name}"`,
    }),
  );
  process.exit(1);
}
/** These only wait and pass on: the optimizing compiler would cost them more than it gives (4 MB, a thread's time). */
if (["elector", "sidecar", "baker-supervisor", "topology-guard"].includes(name)) setFlagsFromString("--no-opt");
void load().then((daemon) => daemon.main());
