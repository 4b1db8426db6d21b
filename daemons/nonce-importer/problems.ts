/** What is wrong with the importer now, and what was lately. Logs each change once. */
import type { Clock } from "../runtime/clock";
import type { Log } from "../runtime/log";
import { Recent } from "../runtime/recent";

export class Problems {
  /** By what it concerns. */
  private readonly current = new Map<"merge" | "file" | "foreign", string>();
  private readonly recent: Recent;

  /** @param onChange called when there is something new that a person should know */
  constructor(
    clock: Clock,
    private readonly log: Log,
    private readonly onChange: () => void,
  ) {
    this.recent = new Recent(clock);
  }

  report(about: "merge" | "file" | "foreign", event: string, reason: string): void {
    if (this.current.get(about) === reason) return;
    this.log.warn(event, reason);
    this.current.set(about, reason);
    this.onChange();
  }

  solved(about: "merge" | "file"): void {
    const reason = this.current.get(about);
    if (reason === undefined) return;
    this.current.delete(about);
    this.happened(about, `over: ${reason}`);
  }

  /** Something that is over already. @param text a sentence without secrets */
  happened(about: string, text: string): void {
    this.recent.note(about, text);
    this.onChange();
  }

  get reasons(): string[] {
    return [...this.current.values()];
  }

  history(): string[] {
    return this.recent.list();
  }
}
