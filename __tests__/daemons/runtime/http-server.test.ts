import { connect } from "node:net";
import { serveHttp } from "../../../daemons/runtime/http-server";

test.each([
  ["GET // HTTP/1.1", 400],
  ["GET http://[ HTTP/1.1", 400],
  ["GET /status HTTP/1.1", 200],
  ["GET /nothing HTTP/1.1", 404],
])("%s is answered with %s", async (line, status) => {
  const server = await serveHttp({ host: "127.0.0.1", port: 0, routes: {} });
  const answer = await new Promise<string>((resolve) => {
    let text = "";
    const socket = connect(server.port, "127.0.0.1", () =>
      socket.write(`${line}\r\nhost: pod\r\nconnection: close\r\n\r\n`),
    );
    socket.on("data", (chunk: Buffer) => (text += chunk.toString())).on("close", () => resolve(text));
  });
  expect(answer.slice(0, 12)).toBe(`HTTP/1.1 ${status}`);
  await server.close();
});
