/**
 * `kubectl exec` over a web socket, protocol v5.channel.k8s.io: each message begins with the number of its channel; 255
 * closes one. The process is whatever `execute` starts.
 */
import type { ChildProcessWithoutNullStreams } from "node:child_process";
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { WebSocketServer } from "ws";

/** @throws Error where pod or container do not run */
export type Execute = (pod: string, container: string, command: readonly string[]) => ChildProcessWithoutNullStreams;

const protocol = "v5.channel.k8s.io";
const channel = { stdin: 0, stdout: 1, stderr: 2, status: 3, close: 255 };
const execPath = /^\/api\/v1\/namespaces\/[^/]+\/pods\/([^/]+)\/exec$/;

/** Answers an upgrade request; what is no exec of somebody who may gets 403 or 404. */
export function serveExec(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  execute: Execute | undefined,
  allowed: boolean,
): void {
  const url = new URL(request.url ?? "/", "http://api");
  const pod = execPath.exec(url.pathname)?.[1];
  const refuse = (status: string) => void socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\n\r\n`);
  if (!allowed) return refuse("403 Forbidden");
  if (pod === undefined || !execute) return refuse("404 Not Found");
  let child: ChildProcessWithoutNullStreams;
  try {
    child = execute(pod, url.searchParams.get("container") ?? "", url.searchParams.getAll("command"));
  } catch {
    return refuse("404 Not Found");
  }
  const server = new WebSocketServer({
    noServer: true,
    handleProtocols: (offered) => (offered.has(protocol) ? protocol : false),
  });
  server.handleUpgrade(request, socket, head, (peer) => {
    const send = (number: number, data: Buffer) => peer.send(Buffer.concat([Buffer.from([number]), data]));
    child.stdout.on("data", (data: Buffer) => send(channel.stdout, data));
    child.stderr.on("data", (data: Buffer) => send(channel.stderr, data));
    child.stdin.on("error", () => undefined);
    peer.on("message", (data: Buffer) => {
      if (data[0] === channel.stdin) child.stdin.write(data.subarray(1));
      else if (data[0] === channel.close && data[1] === channel.stdin) child.stdin.end();
    });
    if (url.searchParams.get("stdin") !== "true") child.stdin.end();
    peer.on("close", () => child.kill("SIGKILL"));
    child.on("error", () => peer.close());
    child.on("close", (code) => {
      const causes = [{ reason: "ExitCode", message: String(code ?? 137) }];
      const failure = {
        status: "Failure",
        reason: "NonZeroExitCode",
        message: `command terminated with exit code ${code ?? 137}`,
        details: { causes },
      };
      send(
        channel.status,
        Buffer.from(JSON.stringify({ metadata: {}, ...(code === 0 ? { status: "Success" } : failure) })),
      );
      peer.close(1000);
    });
  });
}
