/**
 * What the containers of one pod tell each other: status documents, leadership. Over HTTP in a pod; here a message
 * takes a moment, comes to no process that has ended, and waits for one that is stopped.
 */
import { leadershipSchema, type Leadership } from "../../contract/leadership";
import { ports } from "../../contract/ports";
import type { followDocument } from "../../daemons/runtime/follow-document";
import type { Elector } from "../../daemons/elector/elector";
import type { Process } from "./process";
import type { Stage } from "./stage";

export type ContainerName = "elector" | "signing-gate" | "supervisor" | "sidecar" | "nonce-exposer" | "nonce-importer";
type FollowOptions = Parameters<typeof followDocument>[0];

/** One that serves a document: the same object as before where it says the same, as `followDocument` has it. */
export interface Serving {
  process: Process;
  document: () => unknown;
}

const byPort: Readonly<Record<number, ContainerName>> = {
  [ports.sidecar]: "sidecar",
  [ports.supervisor]: "supervisor",
  [ports.gateHealth]: "signing-gate",
  [ports.nonceExposer]: "nonce-exposer",
  [ports.nonceImporter]: "nonce-importer",
};

export class Documents {
  /** Who follows a container's changes. */
  private readonly followers = new Map<ContainerName, Set<() => void>>();

  constructor(
    private readonly stage: Stage,
    private readonly serving: (name: ContainerName) => Serving | undefined,
  ) {}

  /** Its followers hear it now. */
  changed(name: ContainerName): void {
    for (const push of this.followers.get(name) ?? []) push();
  }

  private hopMs(): number {
    return this.stage.world.between(0.2, 1.5);
  }

  /** One question; undefined where no answer came in time. Called in the turn of `from`. */
  ask(from: Process, name: ContainerName, timeoutMs: number): Promise<unknown> {
    const { world } = this.stage;
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(undefined), timeoutMs);
      const answer = (document: unknown) => {
        clearTimeout(timer);
        resolve(document);
      };
      world.after(this.hopMs(), () => {
        const to = this.serving(name);
        if (!to?.process.alive) return from.deliver(() => answer(undefined));
        to.process.deliver(() => {
          const document = to.document();
          from.later(this.hopMs(), () => answer(document));
        });
      });
    });
  }

  /** In the place of `followDocument`: repeats as often as a stream does, and hears changes at once. */
  follow(from: Process, { port, timeoutMs, streamMs = 1000, pollMs, wake, onDocument, signal }: FollowOptions) {
    const name = byPort[port];
    if (name === undefined) throw new Error(`a port of a container; got ${port}`);
    let newestMs = -Infinity;
    const poll = async (): Promise<void> => {
      const askedMs = from.clock.now();
      const document = await this.ask(from, name, timeoutMs);
      if (signal.aborted || askedMs < newestMs) return;
      newestMs = askedMs;
      onDocument(document, askedMs);
    };
    const push = () => from.deliver(() => void poll());
    const set = this.followers.get(name) ?? new Set();
    this.followers.set(name, set.add(push));
    const loop = async (): Promise<void> => {
      while (!signal.aborted) {
        await poll();
        await wake.wait(Math.max(5, pollMs() ?? streamMs), signal);
      }
    };
    return loop().finally(() => set.delete(push));
  }

  /** In the place of `followLeadership`, for one run of the elector. */
  leadership(from: Serving & { elector: Elector }, to: Process, onRecord: (record: Leadership) => void): void {
    let lastMs = 0;
    const { world } = this.stage;
    from.process.later(this.hopMs(), () =>
      from.elector.subscribe((line) => {
        lastMs = Math.max(lastMs, world.now + this.hopMs());
        to.later(lastMs - world.now, () => onRecord(leadershipSchema.parse(JSON.parse(line))));
      }),
    );
  }
}
