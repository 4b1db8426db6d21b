/** Double of `octez-dal-node run`: lives, answers /health and /metrics. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { answer, fail, lab, octezSignals, openTrace, parseArguments, serve, sleep, tryLock } from "./common";

const program = "octez-dal-node";

export async function main(argv: readonly string[]): Promise<void> {
  let parsed;
  try {
    parsed = parseArguments(argv, {
      options: {
        ...{
          "--data-dir": "value",
          "--endpoint": "value",
          "--attester-profiles": "value",
          "--rpc-addr": "value",
          "--net-addr": "value",
        },
        ...{
          "--metrics-addr": "value",
          "--public-addr": "value",
          "--expected-pow": "value",
          "--peers": "value",
          "--observer-profiles": "value",
        },
        ...{
          "--operator-profiles": "value",
          "--history-mode": "value",
          "--bootstrap-profile": "flag",
          "--verbose": "flag",
        },
      },
      aliases: { "-d": "--data-dir", "-E": "--endpoint" },
    });
  } catch (error) {
    return fail(program, 124, (error as Error).message);
  }
  const { options, words } = parsed;
  if (words.join(" ") !== "run") fail(program, 124, `unknown command '${words.join(" ")}'`);
  const folder = options.get("--data-dir")?.[0] ?? fail(program, 124, "--data-dir is required");
  mkdirSync(folder, { recursive: true });
  if (!tryLock(join(folder, "lock"))) fail(program, 1, `another DAL node runs in ${folder}`);
  openTrace(program);
  await sleep(lab.startMs / 2);
  const health = {
    status: "up",
    checks: [
      ["p2p", "up"],
      ["topics", "ok"],
      ["gossipsub", "up"],
    ],
  };
  const closers = await Promise.all([
    serve(options.get("--rpc-addr")?.[0] ?? "127.0.0.1:10732", (_request, response, url) =>
      answer(response, url.pathname === "/health" ? health : [], url.pathname === "/health" ? 200 : 404),
    ),
    ...(options.get("--metrics-addr") ?? []).map((address) =>
      serve(
        address,
        (_request, response) => void response.writeHead(200, { "content-type": "text/plain" }).end("dal_node_up 1\n"),
      ),
    ),
  ]);
  octezSignals(() => closers.forEach((close) => close()));
}
