/** Runs a command in a container of a pod. */
import { Exec, type KubeConfig } from "@kubernetes/client-node";
import { Readable, Writable } from "node:stream";
import { ClusterError } from "./cluster";

export interface ExecResult {
  /** Null where it did not end within a minute. */
  code: number | null;
  out: string;
  err: string;
}
const execMs = 60_000;

/** Servers take messages of some ten KiB. */
function* pieces(text: string): Generator<Buffer> {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += 16_384) yield bytes.subarray(at, at + 16_384);
}

class Collector extends Writable {
  text = "";
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

/** @throws ClusterError where it cannot be run */
export async function execIn(
  config: KubeConfig,
  target: { namespace: string; pod: string; container: string },
  command: string[],
  input: string,
): Promise<ExecResult> {
  const { namespace, pod, container } = target;
  const [out, err] = [new Collector(), new Collector()];
  let end: (code: number | null) => void = () => undefined;
  const ended = new Promise<number | null>((done) => (end = done));
  const timer = setTimeout(() => end(null), execMs);
  try {
    const stdin = input === "" ? null : Readable.from(pieces(input));
    const opened = new Exec(config).exec(namespace, pod, container, command, out, err, stdin, false, (status) => {
      const exit = status.details?.causes?.find((cause) => cause.reason === "ExitCode")?.message;
      end(status.status === "Success" ? 0 : Number(exit ?? 1));
    });
    const socket = await Promise.race([
      opened.catch(() => {
        throw new ClusterError("other", `no command can be run in ${pod}, container ${container}: is it running?`);
      }),
      ended.then(() => undefined),
    ]);
    socket?.addEventListener("close", () => end(null));
    setTimeout(() => socket?.close(), execMs).unref();
    // Older servers cannot be told that the input is over.
    if (socket && input !== "" && socket.protocol !== "v5.channel.k8s.io")
      throw new ClusterError("other", `${command[0]} needs its input in the pod: that takes Kubernetes 1.30 or newer`);
    return { code: await ended, out: out.text, err: err.text };
  } finally {
    clearTimeout(timer);
  }
}
