/**
 * The least that any gate in Node.js can do: one conditional write, then the signer, and nothing else; no check, no
 * memory, no decision. The gate's own cost is what it takes beyond this on the same machine.
 */
import { createServer } from "node:http";
import { bareHttp } from "./bare-http";

const [host = "", port = "", kubeUrl = "", kubeDir = "", path = "", signer = ""] = process.argv.slice(2);
const { ask } = bareHttp(kubeDir);

let latest: { data: Record<string, string> } | undefined;
let n = 0;
createServer((request, response) => {
  let body = "";
  request.setEncoding("utf8").on("data", (chunk: string) => (body += chunk));
  request.on("end", () => {
    void (async () => {
      latest ??= JSON.parse(await ask(kubeUrl + path, "GET", "")) as typeof latest;
      latest = JSON.parse(
        await ask(kubeUrl + path, "PUT", JSON.stringify({ ...latest, data: { n: String(++n) } })),
      ) as typeof latest;
      const answer = await ask(signer + (request.url ?? ""), "POST", body);
      response.writeHead(200, { "content-type": "application/json", "content-length": answer.length }).end(answer);
    })().catch((error: unknown) => response.writeHead(500).end(String(error)));
  });
}).listen(Number(port), host);
