/**
 * nonce-importer: brings the seed nonces of every other member into this pod's client folder, so that the next master
 * can reveal them.
 *
 * Guarantees: what it acknowledges is durable here; the baker's lock is held for milliseconds and by a child that is
 * killed where it is slow; no update of the baker is lost, no file is ever torn; broken, foreign or unfitting input
 * changes nothing on disk and alerts. It does not guarantee that another member can be reached: after 5 x
 * nonceAckSeconds it reports `reconciled` all the same. `tog nonce-importer export` prints this folder's nonces as
 * JSON, `... import` merges such a JSON from stdin, under the same lock (npm run nonces).
 */
// The writer is started again after each kill: it loads nothing that it does not need.
export async function main(): Promise<void> {
  switch (process.argv[3] ?? "") {
    case "":
      return (await import("./daemon")).runImporter();
    case "writer":
      return (await import("./writer")).runWriter();
    case "export":
      return (await import("./transfer")).exportNonces();
    case "import":
      return (await import("./transfer")).importNonces();
    default:
      console.error(`nonce-importer takes no argument, or writer, export or import; got "${process.argv[3]}"`);
      process.exitCode = 1;
  }
}
