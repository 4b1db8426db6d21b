/**
 * The least that any elector in Node.js can do while all is quiet: two leases renewed and watched, three status streams read; no decision, no check. The
 * elector's own cost is what it takes beyond this on the same machine.
 */
import { readFileSync } from "node:fs";
import * as http from "node:http";
import * as https from "node:https";
import { join } from "node:path";

const [kubeUrl = "", kubeDir = "", namespace = "", ...streams] = process.argv.slice(2);
const ca = readFileSync(join(kubeDir, "ca.crt"));
const authorization = `Bearer ${readFileSync(join(kubeDir, "token"), "utf8")}`;
const agent = new https.Agent({ keepAlive: true, ca });
const leases = `${kubeUrl}/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`;

function ask(url: string, method: string, body: string): Promise<{ spec: Record<string, unknown> }> {
  const headers = { authorization, "content-type": "application/json", "content-length": Buffer.byteLength(body) };
  return new Promise((done, failed) => {
    const request = https.request(url, { agent, method, headers }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      response.on("end", () => done(JSON.parse(text) as { spec: Record<string, unknown> }));
    });
    request.on("error", failed);
    request.end(body);
  });
}

const lines = (response: http.IncomingMessage): void =>
  void response.setEncoding("utf8").on("data", (chunk: string) => {
    for (const line of chunk.split("\n")) if (line !== "") JSON.parse(line);
  });

async function renew(name: string, everyMs: number): Promise<void> {
  const metadata = { name, namespace };
  let lease = await ask(leases, "POST", JSON.stringify({ apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata, spec: {} }));
  https.get(`${leases}?watch=true&fieldSelector=metadata.name%3D${name}`, { ca, headers: { authorization }, agent: false }, lines);
  setInterval(() => {
    const renewTime = new Date().toISOString().replace("Z", "000Z");
    void ask(`${leases}/${name}`, "PUT", JSON.stringify({ ...lease, spec: { ...lease.spec, renewTime } })).then((next) => (lease = next));
  }, everyMs);
}

for (const url of streams) http.get(url, lines);
void Promise.all([renew("floor.leader", 1000), renew("floor.member", 2000)]);
