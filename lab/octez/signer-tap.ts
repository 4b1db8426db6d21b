/**
 * Between the gate of one pod and a signer that tells the laboratory nothing: it hands every request on, and records
 * each one for a signature with its answer.
 */
import { createServer, request as send, type IncomingMessage, type ServerResponse } from "node:http";
import type { SignerEntry } from "../checker/checker";
import type { Endpoint } from "../cluster/link";

export interface SignerTapOptions {
  host: string;
  /** Name of the signer in the record. */
  signer: string;
  /** Asked at each request; undefined = nobody there. */
  target: () => Endpoint | undefined;
  onSigned: (entry: SignerEntry) => void;
}
/** The machine's monotonic clock: one order with the watermarks that the API commits. */
const machineMs = (): number => Number(process.hrtime.bigint()) / 1e6;

const textOf = async (message: IncomingMessage): Promise<string> => {
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
};
const stringIn = (json: string, read: (value: unknown) => unknown): string | null => {
  try {
    const value = read(JSON.parse(json));
    return typeof value === "string" ? value : null;
  } catch {
    return null;
  }
};

async function handOn(request: IncomingMessage, response: ServerResponse, options: SignerTapOptions): Promise<void> {
  const body = await textOf(request);
  const target = options.target();
  if (!target) return void request.socket.resetAndDestroy();
  // Before the signer has it: a mark that is committed later came too late.
  const at = machineMs();
  const { method, url = "/" } = request;
  const headers = { ...request.headers, "content-length": String(Buffer.byteLength(body)) };
  // The whole body is there.
  delete headers["transfer-encoding"];
  const address = /^\/keys\/(tz[1-4]\w+)/.exec(url)?.[1];
  const bytes = method === "POST" && address !== undefined ? stringIn(body, (value) => value) : null;
  let recorded = false;
  const record = (signature: string | null): void => {
    if (recorded || address === undefined || bytes === null) return;
    recorded = true;
    options.onSigned({ at, signer: options.signer, address, bytes: bytes.toLowerCase(), signature });
  };
  const upstream = send({ ...target, path: url, method, headers, agent: false }, (answer) => {
    textOf(answer).then(
      (text) => {
        record(answer.statusCode === 200 ? stringIn(text, (v) => (v as { signature?: unknown }).signature) : null);
        const type = answer.headers["content-type"];
        response.writeHead(answer.statusCode ?? 502, type === undefined ? {} : { "content-type": type }).end(text);
      },
      () => {
        // The signer had the request, and may have signed.
        record(null);
        request.socket.resetAndDestroy();
      },
    );
  });
  upstream.on("error", () => {
    record(null);
    request.socket.resetAndDestroy();
  });
  response.on("close", () => upstream.destroy());
  upstream.end(body);
}

/** @returns where it listens, and its end */
export async function tapSigner(options: SignerTapOptions): Promise<Endpoint & { close(): void }> {
  const server = createServer((request, response) => {
    handOn(request, response, options).catch(() => request.socket.destroy());
  }).unref();
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(0, options.host, resolve));
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : 0;
  return { host: options.host, port, close: () => void server.close().closeAllConnections() };
}
