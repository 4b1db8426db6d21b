/**
 * What a laboratory has in place of doubles and a simulated chain: the programs of an installed Octez in the pods, and
 * a network of them around. The programs tell the laboratory nothing: it looks at their processes, at what they ask the
 * signer for, and at the chain.
 */
import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { LogEntry } from "../../contract/log";
import type { SignerEntry } from "../checker/checker";
import type { ClusterOptions } from "../cluster/cluster";
import type { Endpoint } from "../cluster/link";
import { keyOf } from "../doubles/signing-keys";
import type { LabOptions } from "../lab";
import type { BakerDescription } from "../synth";
import type { TraceServer } from "../trace";
import { Lives } from "./lives";
import type { Octez, OctezProgram } from "./programs";
import { Sandbox } from "./sandbox";
import { tapSigner } from "./signer-tap";

interface RealOctezOptions {
  octez: Octez;
  baker: BakerDescription;
  options: Pick<LabOptions, "blockMs" | "blocksPerCycle" | "blocksPerCommitment">;
  /** Of the laboratory. */
  folder: string;
  host: string;
  run: string;
  trace: TraceServer;
  activePod: () => string | undefined;
  onSigned: (entry: SignerEntry, by: { pod: string; uid: string }) => void;
  note: (level: LogEntry["level"], program: OctezProgram, event: string, reason: string) => void;
}

export class RealOctez {
  readonly sandbox: Sandbox;
  /** What the cluster runs in the place of the doubles. */
  readonly inPods: NonNullable<ClusterOptions["octez"]>;
  private readonly lives: Lives;
  private readonly taps: { close(): void }[] = [];

  constructor(private readonly o: RealOctezOptions) {
    const { octez, baker, options, folder, host, note } = o;
    this.sandbox = new Sandbox({
      ...{ octez, folder: join(folder, "network"), host, run: o.run, activePod: o.activePod },
      times: {
        blockSeconds: options.blockMs / 1000,
        ...{ blocksPerCycle: options.blocksPerCycle ?? 16, blocksPerCommitment: options.blocksPerCommitment ?? 2 },
      },
      delegate: keyOf((baker.keys[baker.delegate] ?? "").replace("unencrypted:", "")),
      note: (program, event, reason) => note(event === "output" ? "debug" : "warn", program, event, reason),
    });
    const lives = join(folder, "lives");
    this.lives = new Lives(lives, o.trace);
    this.inPods = { paths: octez.paths, lives, tapSigner: (...between) => this.tap(...between) };
  }

  private async tap(
    ...[member, signer, target]: Parameters<NonNullable<ClusterOptions["octez"]>["tapSigner"]>
  ): Promise<Endpoint> {
    const onSigned = (entry: SignerEntry) => this.o.onSigned(entry, { pod: member.pod.name, uid: member.pod.uid });
    const tap = await tapSigner({ host: this.o.host, signer, target, onSigned });
    this.taps.push(tap);
    return tap;
  }

  /** A line of a pod's output. */
  heard(pod: string, line: string): void {
    this.lives.heard(pod, line);
  }

  /** From now on pods that ask for a snapshot get one of the chain as it is. @returns its block's hash */
  async publishSnapshot(): Promise<string> {
    const published = join(this.o.folder, "snapshot");
    const block = await this.sandbox.exportSnapshot(`${published}.new`);
    renameSync(`${published}.new`, `${published}.file`);
    writeFileSync(published, block);
    return block;
  }

  stop(): void {
    this.lives.stop();
    this.sandbox.stop();
    for (const tap of this.taps) tap.close();
  }
}
