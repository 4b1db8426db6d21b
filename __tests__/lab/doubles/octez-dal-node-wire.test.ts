/** What octez-dal-node 25.1 answered without peers, and what the double answers to the same requests. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { DalRpc } from "../../../lab/doubles/octez-dal-node";
import { OctezSigner } from "../../../lab/doubles/signer-server";
import { testKey } from "../../../lab/doubles/signing-keys";
import { parseSigningRequest } from "../../../tezos/signing-request";
import { recordedJson, recordedText, recordingNames } from "../../helpers/octez-recordings";

const folder = "octez-dal-node";
const attester = "tz1gJqydwxKpxGj8jABfTTLojtpyyvHAhhcj";
/** The texts of standard error are replayed with the command lines. */
const answers = recordingNames(folder).filter((name) => !name.endsWith(".txt"));

async function ask(rpc: DalRpc, path: string) {
  const server = createServer((request, response) =>
    rpc.serve(request, response, new URL(request.url ?? "/", "http://dal"), ""),
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const response = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`);
    const { headers, status } = response;
    const [type, length] = [headers.get("content-type"), headers.get("content-length")];
    return { status, type, length, body: await response.text() };
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

test.each(answers)("the double answers as octez-dal-node 25.1 did: %s", async (name) => {
  const rpc = new DalRpc([attester], "DAL_SANDBOXED_TEZOS");
  const got = await ask(rpc, `/${name.replace(/^get-|-node-away|\.\w+$/g, "")}`);
  const text = recordedText(`${folder}/${name}`).replace(/\r/g, "");
  if (name === "health-node-away.json") return expect(got.body).toBe(text);
  const [head = "", body = ""] = text.split(/\n\n([^]*)/);
  const field = (header: string) => new RegExp(`^${header}: (.*)$`, "m").exec(head)?.[1] ?? null;
  expect(got).toEqual({
    ...{ status: Number(/^HTTP\/1.1 (\d+)/.exec(head)?.[1]), body: body.trim() === "" ? "" : body },
    ...{ type: field("content-type"), length: field("content-length") },
  });
});

test("octez-signer signs DAL bits that are no number of octez-codec, as the double does; the gate's parser refuses them", async () => {
  const odd =
    recordedJson<{ name: string; hex?: string; noMarks?: string; marks?: string }[]>("odd-dal-encodings.json");
  const key = testKey("tz1", "odd");
  for (const checkHighWatermark of [false, true])
    for (const { name, hex, noMarks, marks } of odd) {
      const recorded = checkHighWatermark ? marks : noMarks;
      // The legal ones are recorded without their bytes; dal-attestations.json has such.
      if (hex === undefined || recorded === undefined) continue;
      const signer = new OctezSigner({ keys: [key], checkHighWatermark, magicBytes: [0x11, 0x12, 0x13] });
      const port = await signer.start("127.0.0.1");
      const response = await fetch(`http://127.0.0.1:${port}/keys/${key.address}?version=3`, {
        ...{ method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(hex) },
      });
      await signer.close();
      expect([name, response.status]).toEqual([name, Number(recorded.slice(0, 3))]);
      expect([name, parseSigningRequest(Buffer.from(hex, "hex")).ok]).toEqual([name, false]);
    }
});
