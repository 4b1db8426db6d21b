/** Requests without a client around them, for the floors: what any program in Node.js needs for the same traffic. */
import { readFileSync } from "node:fs";
import * as http from "node:http";
import * as https from "node:https";
import { join } from "node:path";

/** @param kubeDir folder of `token` and `ca.crt` */
export function bareHttp(kubeDir: string) {
  const ca = readFileSync(join(kubeDir, "ca.crt"));
  const authorization = `Bearer ${readFileSync(join(kubeDir, "token"), "utf8")}`;
  const plain = new http.Agent({ keepAlive: true });
  const secure = new https.Agent({ keepAlive: true, ca });
  return {
    /** Body of a 2xx over a kept-alive connection; https is the API. @throws Error for any other status */
    ask(url: string, method: string, body: string): Promise<string> {
      const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
      return new Promise((done, failed) => {
        const onAnswer = (response: http.IncomingMessage): void => {
          let text = "";
          response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
          response.on("end", () =>
            Math.floor((response.statusCode ?? 0) / 100) === 2 ? done(text) : failed(new Error(text)),
          );
        };
        const request = url.startsWith("https:")
          ? https.request(url, { agent: secure, method, headers: { ...headers, authorization } }, onAnswer)
          : http.request(url, { agent: plain, method, headers }, onAnswer);
        request.on("error", failed);
        request.end(body);
      });
    },
    /** Reads a stream of JSON lines for ever. */
    follow(url: string): void {
      const onAnswer = (response: http.IncomingMessage): void =>
        void response.setEncoding("utf8").on("data", (chunk: string) => {
          for (const line of chunk.split("\n")) if (line !== "") JSON.parse(line);
        });
      if (url.startsWith("https:")) https.get(url, { ca, headers: { authorization }, agent: false }, onAnswer);
      else http.get(url, onAnswer);
    },
  };
}
