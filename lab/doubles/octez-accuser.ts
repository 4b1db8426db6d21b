/** Double of `octez-accuser -E URL run`: follows the heads and accuses nobody. */
import { get } from "node:http";
import { fail, lines, octezSignals, openTrace, parseArguments, sleep } from "./common";

const program = "octez-accuser";

export async function main(argv: readonly string[]): Promise<void> {
  let parsed;
  try {
    parsed = parseArguments(argv, {
      options: {
        "--endpoint": "value",
        "--base-dir": "value",
        "--preserved-levels": "value",
        "--keep-alive": "flag",
        "--chain": "value",
      },
      aliases: { "-E": "--endpoint", "-d": "--base-dir", "-K": "--keep-alive" },
    });
  } catch (error) {
    return fail(program, 1, (error as Error).message);
  }
  if (parsed.words.join(" ") !== "run") fail(program, 1, `Unrecognized command '${parsed.words.join(" ")}'.`);
  const endpoint = parsed.options.get("--endpoint")?.[0] ?? "http://127.0.0.1:8732";
  octezSignals(() => undefined);
  openTrace(program);
  process.stdout.write("Accuser v25.1 started.\n");
  for (;;) {
    await new Promise<void>((resolve) => {
      get(`${endpoint}/monitor/heads/main`, (response) => {
        lines(response, () => undefined);
        response.on("close", () => resolve());
      }).on("error", () => resolve());
    });
    await sleep(1000);
  }
}
