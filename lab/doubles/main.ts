/** One bundle for all doubles: the first argument names the program, each is loaded only when it is asked for. */
const doubles: Record<string, () => Promise<{ main(argv: readonly string[]): Promise<void> }>> = {
  "octez-node": () => import("./octez-node"),
  "octez-baker": () => import("./octez-baker"),
  "octez-dal-node": () => import("./octez-dal-node"),
  "octez-accuser": () => import("./octez-accuser"),
  "octez-signer": () => import("./octez-signer"),
  predecessor: () => import("./predecessor"),
};

const [name = "", ...argv] = process.argv.slice(2);
const load = doubles[name];
if (!load) {
  process.stderr.write(`one of ${Object.keys(doubles).join(", ")}; got "${name}"\n`);
  process.exit(127);
}
// As the supervisor asks on a standby.
if (argv.length === 1 && argv[0] === "--version") {
  process.stdout.write("double (not-available) (Octez 25.1)\n");
  process.exit(0);
}
void load().then((double) => double.main(argv));
export {};
