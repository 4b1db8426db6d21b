/**
 * The runbook of a rotation and of the way from a Ledger to tz4 keys: the page's own commands, in their order, against
 * a laboratory whose chain activates the registered keys and judges every signature by the key of its level.
 */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { activeKey } from "../../lab/chain/keys";
import { Lab } from "../../lab/lab";
import { octezClient } from "../../lab/octez-client";
import { calm } from "../../lab/scenarios/run";
import type { Rotation } from "../../lab/synth";
import { bundlePath, commandPath } from "../helpers/bundle";
import { folder, words } from "../helpers/runbooks";

jest.setTimeout(900_000);
const page = readFileSync(join(folder, "key-rotation.md"), "utf8");
/** The commands of a section's shell blocks. */
const commandsOf = (title: string): string[][] => {
  const section = page.split(/^## /m).find((part) => part.startsWith(`${title}\n`)) ?? "";
  return [...section.matchAll(/^ *```sh\n([^]*?)^ *```/gm)].flatMap(([, block = ""]) =>
    block
      .split("\n")
      .map((line) => line.trim())
      .filter((line) => line !== "")
      .map(words),
  );
};

class Rehearsal {
  /** What each `keys` printed. */
  readonly shown: string[] = [];
  private deployed = 0;
  private registered = false;

  constructor(private readonly lab: Lab) {}

  private get next() {
    const next = this.lab.synthesis.bakers[0]?.next;
    if (!next) throw new Error("the laboratory has no next key");
    return next;
  }
  private get home(): string {
    const home = this.lab.cluster.network.homeSigners.get("home1");
    return `${home?.host}:${home?.port}`;
  }
  private get aliases(): Record<string, string> {
    const { consensus, companion } = this.next;
    return {
      DELEGATE: this.lab.simulation.options.delegate,
      NEXT: consensus.address,
      COMPANION: companion?.address ?? "",
    };
  }

  private async baker(argv: readonly string[]): Promise<{ code: number | null; out: string }> {
    const command = await commandPath("baker");
    const env = { ...process.env, KUBECONFIG: this.lab.cluster.kubeconfig };
    return new Promise((done) => {
      const child = spawn(process.execPath, [command, ...argv], { cwd: this.lab.folder, env });
      let out = "";
      for (const stream of [child.stdout, child.stderr])
        stream.on("data", (chunk: Buffer) => (out += chunk.toString()));
      child.on("close", (code) => done({ code, out }));
    });
  }
  /** As the page says: until nothing is missing. */
  private async keys(): Promise<void> {
    for (let left = 30; ; left--) {
      const { code, out } = await this.baker(["keys"]);
      if (code === 0) return void this.shown.push(out);
      if (left === 0) throw new Error(out);
      await this.lab.sleep(1000);
    }
  }
  private async deploy(): Promise<void> {
    await this.lab.deployKeys(this.deployed++ === 0 ? ["present", "next"] : ["next"]);
    await calm(this.lab);
  }
  private async activated(): Promise<void> {
    const { simulation: chain } = this.lab;
    const isActive = () =>
      activeKey(chain.options, "consensus", chain.head.level - 4)?.address === this.next.consensus.address;
    await this.lab.until("the next key is active for some levels", isActive, 300_000);
    const { code, out } = await this.baker(["status"]);
    expect([code, out]).toEqual([0, expect.stringMatching(/ signs \(epoch \d+\)/)]);
  }
  /** The signer answers for every key that it is asked for. */
  private async signerHasKeys(): Promise<void> {
    for (const { address } of Object.values(this.next) as { address: string }[])
      expect((await fetch(`http://${this.home}/keys/${address}`)).status).toBe(200);
  }

  /** @throws Error for a command that is not rehearsed */
  async run(command: readonly string[]): Promise<void> {
    const text = command.join(" ");
    if (text === "npm run baker -- keys") return this.keys();
    if (text === "npm run baker -- status" && this.registered) return this.activated();
    if (text === "npm run deploy -- --only baker") return this.deploy();
    // Shows what the next command does, and needs Terraform.
    if (text === "npm run diff -- --only baker") return;
    if (/^sudo (-u tezos-signer octez-signer|scripts\/signer-host doctor) |^curl -fsS /.test(text))
      return this.signerHasKeys();
    if (command[0] === "octez-client") {
      await octezClient({ lab: this.lab, aliases: this.aliases, signer: this.home }, command.slice(1));
      this.registered = true;
      return;
    }
    throw new Error(`the rehearsal does not know ${text}`);
  }
}

test.each<[title: string, rotation: Rotation]>([
  ["Rotation", "tz2"],
  ["From a Ledger to a tz4 device", "tz4"],
])("%s: every command does what the page says, and the activation costs no level", async (title, rotation) => {
  const commands = commandsOf(title);
  expect(commands.length).toBeGreaterThan(9);
  const lab = await Lab.start({
    ...{ blockMs: 2000, tog: await bundlePath(), seed: "rotation", signers: "tunnels" },
    ...{ rotation, keys: ["present"], blocksPerCycle: 8 },
  });
  try {
    await lab.ready(240_000);
    await calm(lab);
    const rehearsal = new Rehearsal(lab);
    let registeredAt = 0;
    let beforeLastDeploy = 0;
    const lastDeploy = commands.findLastIndex((command) => command.includes("deploy"));
    for (const [i, command] of commands.entries()) {
      if (i === lastDeploy) beforeLastDeploy = lab.chain.missedSince(registeredAt);
      await rehearsal.run(command);
      if (command[0] === "octez-client") registeredAt ||= lab.chain.head.level;
    }
    const [present, beside, pending, active, alone] = rehearsal.shown;
    const { consensus, companion } = lab.synthesis.bakers[0]?.next ?? {};
    const [now, later] = [lab.simulation.options.delegate, consensus?.address ?? ""];
    expect(present).toContain(`${now}  delegate\n  chain      active consensus key`);
    expect(present).not.toContain(later);
    expect(beside).toContain(`${later}  consensus-2\n  chain      neither active nor pending`);
    expect(pending).toMatch(new RegExp(`${later}  consensus-2\\n  chain      consensus key from cycle \\d+, in about`));
    expect(active).toContain(`${later}  consensus-2\n  chain      active consensus key`);
    expect(alone).toContain(`${later}  consensus\n  chain      active consensus key`);
    if (companion) expect(active).toContain(`${companion.address}  companion\n  chain      active companion key`);
    // From the registration until the former key goes.
    expect(beforeLastDeploy).toBe(0);
    expect(lab.verdict()).toEqual([]);
  } finally {
    await lab.stop();
  }
});
