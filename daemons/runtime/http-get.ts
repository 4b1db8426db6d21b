/** GET of a small JSON document inside the pod or the cluster: one deadline for everything, bounded size, no redirects. */
import { get } from "node:http";

/**
 * @param url http://HOST:PORT/PATH
 * @throws Error for anything but a 200 with JSON within `timeoutMs` and `limit` bytes (default 1 MiB)
 */
export function getJson(url: string, options: { timeoutMs: number; signal?: AbortSignal; limit?: number }): Promise<unknown> {
  const limit = options.limit ?? 1 << 20;
  return new Promise((resolve, reject) => {
    const deadline = AbortSignal.timeout(Math.ceil(options.timeoutMs));
    const signal = options.signal ? AbortSignal.any([options.signal, deadline]) : deadline;
    const fail = (error: unknown): void =>
      reject(
        deadline.aborted
          ? new Error(`no answer within ${options.timeoutMs} ms`)
          : error instanceof Error
            ? error
            : new Error(String(error)),
      );
    const request = get(url, { signal, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on("data", (chunk: Buffer) => {
        size += chunk.length;
        if (size > limit) response.destroy(new Error(`an answer of more than ${limit} bytes`));
        else chunks.push(chunk);
      });
      response.on("error", fail);
      response.on("aborted", () => fail(new Error("cut")));
      response.on("end", () => {
        if (response.statusCode !== 200) return fail(new Error(`HTTP ${response.statusCode ?? 0}`));
        try {
          resolve(JSON.parse(Buffer.concat(chunks).toString("utf8")));
        } catch {
          fail(new Error("no JSON"));
        }
      });
    });
    request.on("error", fail);
  });
}
