/**
 * DNS of the cluster, one server on each machine: services by name, nothing else. Run inside of a machine: node
 * --import tsx dns.ts ADDRESS FILE, where FILE holds {"name.namespace.svc.cluster.local": "10.96.0.1"} and is read
 * anew at each question.
 */
import { createSocket } from "node:dgram";
import { readFileSync } from "node:fs";

/** The answer to a question, or undefined where it is none. Only A records exist. */
export function answerTo(query: Buffer, addresses: Readonly<Record<string, string>>): Buffer | undefined {
  if (query.length < 17 || query.readUInt16BE(4) !== 1) return undefined;
  const words: string[] = [];
  let at = 12;
  for (let length = query[at] ?? 0; length > 0 && at < query.length; length = query[at] ?? 0) {
    words.push(query.toString("latin1", at + 1, at + 1 + length));
    at += length + 1;
  }
  const end = at + 5;
  const address = addresses[words.join(".").toLowerCase()];
  const found = address !== undefined && query.readUInt16BE(at + 1) === 1;
  const header = Buffer.from(query.subarray(0, 12));
  // Answer, authoritative; NXDOMAIN where the name is not there.
  header.writeUInt16BE(address === undefined ? 0x8583 : 0x8580, 2);
  for (const [offset, value] of [
    [6, found ? 1 : 0],
    [8, 0],
    [10, 0],
  ] as const)
    header.writeUInt16BE(value, offset);
  const record = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, ...(address ?? "").split(".").map(Number)]);
  return Buffer.concat([header, query.subarray(12, end), ...(found ? [record] : [])]);
}

if (require.main === module) {
  const [address = "", file = ""] = process.argv.slice(2);
  const server = createSocket("udp4");
  server.on("message", (query, from) => {
    const answer = answerTo(query, JSON.parse(readFileSync(file, "utf8")) as Record<string, string>);
    if (answer) server.send(answer, from.port, from.address);
  });
  server.bind(53, address);
}
