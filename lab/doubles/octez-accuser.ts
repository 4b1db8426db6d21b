/** Double of `octez-accuser -E URL run`: follows the heads, accuses nobody, and ends with its node. */
import { get } from "node:http";
import { lines, octezSignals, openTrace, parseArguments, sleep, type ArgumentSpec } from "./common";
import { untilNode } from "./octez-baker-start";
import { clicError, clientOptions, log, unrecognized } from "./octez-output";

const program = "octez-accuser";
/** The options of `run`, as the manual lists them. */
export const accuserOptions: Required<ArgumentSpec> = {
  options: { "--pidfile": "value", "--preserved-levels": "value", "--keep-alive": "flag" },
  aliases: { "-P": "--pidfile", "-K": "--keep-alive" },
};

function parse(argv: readonly string[]): { node: string; keepAlive: boolean } {
  const at = argv.indexOf("run");
  try {
    const global = parseArguments(at < 0 ? argv : argv.slice(0, at), clientOptions);
    const command = parseArguments(argv.slice(at + 1), accuserOptions);
    if (at < 0 || global.words.length > 0 || command.words.length > 0) return unrecognized();
    const node = global.options.get("--endpoint")?.at(-1) ?? "http://127.0.0.1:8732";
    return { node, keepAlive: command.options.has("--keep-alive") };
  } catch (error) {
    return clicError((error as Error).message);
  }
}

export async function main(argv: readonly string[]): Promise<void> {
  const { node, keepAlive } = parse(argv);
  octezSignals(program, () => undefined);
  openTrace(program);
  log("NOTICE", "starting accuser daemon");
  for (;;) {
    await untilNode({ node, keepAlive, callTimeoutMs: 0 });
    process.stdout.write("Accuser 25.1 (a double of the laboratory) started.\n");
    await new Promise<void>((resolve) => {
      get(`${node}/monitor/heads/main`, { agent: false }, (response) => {
        lines(response, () => undefined);
        response.on("error", () => resolve());
        response.on("close", () => resolve());
      }).on("error", () => resolve());
    });
    if (!keepAlive) clicError("Lost connection with the node");
    await sleep(1000);
  }
}
