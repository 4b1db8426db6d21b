/** `npm run baker -- COMMAND`, also `kubectl tezos-baker COMMAND`. */
import "../configuration/node";
import { connectCluster } from "./connect";
import { cockpit } from "./main";

// Whoever read it (head, a pager) has seen enough.
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));

void cockpit(process.argv.slice(2), {
  connect: connectCluster,
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  terminal: process.stdout.isTTY,
  folder: process.cwd(),
}).then((code) => {
  process.exitCode = code;
  // A command that was interrupted may have left a question open which nobody answers for a minute.
  process.stdout.write("", (error) => {
    if (!error) process.exit(code);
  });
});
