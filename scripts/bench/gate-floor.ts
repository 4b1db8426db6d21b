/**
 * The least that any gate in Node.js can do: one conditional write, then the signer, and nothing else; no check, no memory, no decision. The gate's own cost
 * is what it takes beyond this on the same machine.
 */
import { readFileSync } from "node:fs";
import * as http from "node:http";
import * as https from "node:https";
import { join } from "node:path";

const [host = "", port = "", kubeUrl = "", kubeDir = "", path = "", signer = ""] = process.argv.slice(2);
const agent = new http.Agent({ keepAlive: true });
const secure = new https.Agent({ keepAlive: true, ca: readFileSync(join(kubeDir, "ca.crt")) });
const token = readFileSync(join(kubeDir, "token"), "utf8");

function ask(url: string, method: string, body: string): Promise<string> {
  const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
  return new Promise((done, failed) => {
    const onAnswer = (response: http.IncomingMessage): void => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      response.on("end", () => (response.statusCode === 200 ? done(text) : failed(new Error(text))));
    };
    const request = url.startsWith("https:")
      ? https.request(url, { agent: secure, method, headers: { ...headers, authorization: `Bearer ${token}` } }, onAnswer)
      : http.request(url, { agent, method, headers }, onAnswer);
    request.on("error", failed);
    request.end(body);
  });
}

let latest: { data: Record<string, string> } | undefined;
let n = 0;
http
  .createServer((request, response) => {
    let body = "";
    request.setEncoding("utf8").on("data", (chunk: string) => (body += chunk));
    request.on("end", () => {
      void (async () => {
        latest ??= JSON.parse(await ask(kubeUrl + path, "GET", "")) as typeof latest;
        latest = JSON.parse(await ask(kubeUrl + path, "PUT", JSON.stringify({ ...latest, data: { n: String(++n) } }))) as typeof latest;
        const answer = await ask(signer + (request.url ?? ""), "POST", body);
        response.writeHead(200, { "content-type": "application/json", "content-length": answer.length }).end(answer);
      })().catch((error: unknown) => response.writeHead(500).end(String(error)));
    });
  })
  .listen(Number(port), host);
