/**
 * The first import of every command. A Node.js that would fail somewhere later is refused here in one sentence. The
 * deprecation warnings of newer ones are about libraries (the Kubernetes client, cdktf) and nothing that a user of a
 * command could act on.
 */
const needed = 20;

if (Number(process.versions.node.split(".")[0]) < needed) {
  console.error(
    `Node.js ${needed} or newer is needed, this is ${process.versions.node}: install a newer one, then run npm ci again.`,
  );
  process.exit(1);
}
process.noDeprecation = true;
