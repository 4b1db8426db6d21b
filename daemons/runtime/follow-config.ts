/**
 * Follows the mounted JSON file. Guarantees that `onChange` gets only files that the schema accepts, whole, each once;
 * and that one which the schema or `onChange` refuses (by throwing) changes nothing, is logged, and shows in a metric
 * until it is mended.
 */
import { readFileSync } from "node:fs";
import { dirname } from "node:path";
import { bakerFileSchema, type BakerFile } from "../../contract/baker-file";
import { FolderWatch } from "./folder-watch";
import type { Log } from "./log";
import { Gauge, type Registry } from "./metrics";

const rescanMs = 10_000;

export interface FollowOptions {
  path: string;
  /** What is in force: the file as it was read at start. */
  file: BakerFile;
  log: Log;
  registry: Registry;
  onChange: (file: BakerFile) => void;
}

/**
 * Whether both have the same keys under the same names. A running pod knows those that it was started with: its client
 * folder and its gate get others with a new pod, which every change of the keys brings.
 */
export const sameKeys = (one: Pick<BakerFile, "keys">, other: Pick<BakerFile, "keys">): boolean => {
  const names = ({ keys }: Pick<BakerFile, "keys">) => keys.map(({ address, alias }) => `${alias} ${address}`).join();
  return names(one) === names(other);
};

/** @returns ends it */
export function followConfig({ path, file, log, registry, onChange }: FollowOptions): () => void {
  const rejected = new Gauge({
    name: "tog_config_rejected",
    help: "1 while the mounted configuration file is refused and the last good one stays in force",
    registers: [registry],
  });
  let text = "";
  let inForce = JSON.stringify(file);
  const look = () => {
    try {
      const now = readFileSync(path, "utf8");
      if (now === text) return;
      text = now;
      const wanted = bakerFileSchema.parse(JSON.parse(now));
      if (JSON.stringify(wanted) !== inForce) onChange(wanted);
      inForce = JSON.stringify(wanted);
      rejected.set(0);
    } catch (error) {
      rejected.set(1);
      log.error("configuration-rejected", error instanceof Error ? error.message : String(error));
    }
  };
  // A mounted ConfigMap changes by a renamed link in this folder.
  const folder = new FolderWatch(
    dirname(path),
    () => true,
    look,
    (reason) => log.warn("configuration-watch", reason),
  );
  const rescan = setInterval(() => {
    folder.open();
    look();
  }, rescanMs);
  folder.open();
  look();
  return () => {
    folder.close();
    clearInterval(rescan);
  };
}
