/**
 * Hears of changes in a folder. It is a hint only: the folder may not exist yet, a Kubernetes node can run out of
 * watches, and some file systems report nothing. Whoever uses it also looks regularly, and calls `open` then.
 */
import { watch, type FSWatcher } from "node:fs";

export class FolderWatch {
  private watcher: FSWatcher | undefined;
  private reported = "";

  /** @param onError called where a watch cannot be had, once for each reason; a missing folder is no error */
  constructor(
    private readonly folder: string,
    private readonly matches: (name: string) => boolean,
    private readonly onChange: () => void,
    private readonly onError: (reason: string) => void,
  ) {}

  /** Opens the watch unless it is open. */
  open(): void {
    try {
      this.watcher ??= watch(this.folder, (_event, name) => {
        if (name === null || this.matches(name)) this.onChange();
      }).on("error", (error) => {
        this.close();
        this.failed(error);
      });
    } catch (error) {
      this.failed(error);
    }
  }

  close(): void {
    this.watcher?.close();
    this.watcher = undefined;
  }

  private failed(error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    if ((error as NodeJS.ErrnoException).code === "ENOENT" || reason === this.reported) return;
    this.reported = reason;
    this.onError(reason);
  }
}
