/** What the double of octez-node tells those who follow it. */
import { once } from "node:events";
import { createServer, get, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import type { Block } from "../../../lab/chain/blocks";
import { NodeView } from "../../../lab/doubles/node-view";

test("a quorum right behind its block is not written into an answer that the block has ended", async () => {
  const view = new NodeView();
  const errors: string[] = [];
  const server = createServer((_request, response) => {
    response.on("error", (error) => errors.push(error.message));
    view.stream(response, view.operations, [[]]);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const [answer] = (await once(get({ port, host: "127.0.0.1", agent: false }), "response")) as [IncomingMessage];
  const block: Block = { hash: "B1", level: 1, round: 0, atMs: 0, proposer: "", payloadHash: "v1", header: {} };
  view.accept(block);
  view.receive({ prequorum: { level: 1, round: 0, hash: "B1", payloadHash: "v1" } });
  await once(answer.resume(), "end");
  server.close();
  expect(errors).toEqual([]);
});
