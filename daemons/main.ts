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
void load().then((daemon) => daemon.main());
export {};
