/** The runbooks' commands of this project, as an operator types them, against a running laboratory. */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Lab } from "../../lab/lab";
import { bundlePath, commandPath } from "../helpers/bundle";
import { runbookCommands } from "../helpers/runbooks";

const lines = [
  ...new Map(
    runbookCommands()
      .filter(({ words }) => words[0] === "npm" && ["baker", "nonces", "watermark"].includes(words[2] ?? ""))
      // A laboratory has no Alertmanager: test-alert.test.ts.
      .filter(({ words }) => !words.includes("test-alert"))
      // Moving in is possible before the first tenure alone: import.test.ts.
      .filter(({ words }) => !(words[2] === "baker" && words[4] === "import"))
      .map(({ words }) => [words.join(" "), words.slice(2).filter((word) => word !== "--")] as const),
  ).values(),
].map((words) => (words[0] === "baker" ? words.slice(1) : words));

test("every one of them ends as it should", async () => {
  const folder = mkdtempSync(join(tmpdir(), "tog-runbooks-"));
  const lab = await Lab.start({ blockMs: 2000, tog: await bundlePath(), seed: "runbooks" });
  const command = await commandPath("baker");
  const run = (words: readonly string[]) =>
    new Promise<{ code: number | null; text: string }>((done) => {
      const child = spawn(process.execPath, [command, ...words], {
        cwd: folder,
        env: { ...process.env, KUBECONFIG: lab.cluster.kubeconfig },
      });
      let text = "";
      for (const stream of [child.stdout, child.stderr])
        stream.on("data", (chunk: Buffer) => (text += chunk.toString()));
      child.on("exit", (code, signal) => done({ code: signal === "SIGINT" ? 0 : code, text }));
      // What watches until Ctrl-C.
      if (words.includes("--watch")) setTimeout(() => child.kill("SIGINT"), 4000);
    });
  try {
    await lab.ready(240_000);
    expect(lines.length).toBeGreaterThan(12);
    const key = lab.synthesis.bakers[0]?.delegate ?? "";
    const failed: string[] = [];
    // Nothing can be imported before it was exported.
    const ordered = [
      ...lines.filter((words) => words.includes("export")),
      ...lines.filter((words) => !words.includes("export")),
    ];
    for (const given of ordered) {
      const holder = () => lab.lease?.holder.split("_")[0] ?? "";
      await lab.until("somebody holds", () => holder() !== "", 60_000);
      const to = given.indexOf("--to");
      const words = given.map((word, i) =>
        // Higher than a few levels above the head would need --far.
        i > 0 && given[i - 1] === "--level"
          ? String(lab.chain.head.level + 1)
          : i > 0 && given[i - 1] === "--key"
            ? key
            : to >= 0 && i === to + 1
              ? lab.otherPod(holder())
              : word,
      );
      const { code, text } = await run(words);
      // A dry run with an objection, or a look in the middle of a start, says so with 1.
      const tolerated =
        ["status", "doctor", "drill"].includes(words[0] ?? "") ||
        (words[0] === "switchover" && !words.includes("--yes"));
      if (code !== 0 && !(tolerated && code === 1)) failed.push(`${words.join(" ")}: ${code}\n${text}`);
      if (words[0] === "rewards" && !text.includes("Rewards go on")) failed.push(text);
      if (words[0] === "switchover" && words.includes("--yes") && !/ -> .*(\d+ missed levels?|not counted)/.test(text))
        failed.push(text);
    }
    expect(failed).toEqual([]);
  } finally {
    await lab.stop();
    rmSync(folder, { recursive: true, force: true });
  }
});
