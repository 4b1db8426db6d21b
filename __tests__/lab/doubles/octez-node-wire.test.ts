/**
 * What octez-node 25.1 answered, and what the double answers to the same requests about the same blocks: the same
 * status and type, and nothing in a body that the real one does not have.
 */
import { request as httpRequest, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { createServer } from "node:http";
import type { Block } from "../../../lab/chain/blocks";
import { Chain, type ChainOptions } from "../../../lab/chain/chain";
import { lab } from "../../../lab/doubles/common";
import { NodeRpc } from "../../../lab/doubles/node-rpc";
import { NodeView } from "../../../lab/doubles/node-view";
import { bodyOf, exchangesOf, headerOf, type Exchange } from "../../helpers/octez-recordings";
import { mainnetAnswers, unheardOf, votePaths } from "../../helpers/votes";

const recordings = exchangesOf("octez-node");

/** Deliberately not modelled, with the reason. */
const notModelled: Readonly<Record<string, string>> = {
  "009-header-genesis": "no program of ours asks for the genesis block, and the simulated chain has none",
  "045-validated-blocks": "the baker double takes a block as validated when its node announces it as the head",
};

const recordedBlock = (name: string): Block => {
  const [, exchange] = recordings.find(([known]) => known === name) ?? [];
  const { hash, ...header } = JSON.parse(exchange?.response.body ?? "") as Record<string, unknown> & { hash: string };
  const [level, payloadHash] = [Number(header.level), String(header.payload_hash)];
  return { ...{ hash, level, header, payloadHash, round: 0, atMs: Date.now(), proposer: "ours" } };
};

/** Undefined where `mine` has nothing that is not in `theirs`, of the same JSON types; else where it has. */
function invention(mine: unknown, theirs: unknown, at = ""): string | undefined {
  if (Array.isArray(mine) && Array.isArray(theirs))
    return mine
      .map((item, i) => (theirs.length === 0 ? undefined : invention(item, theirs[i] ?? theirs[0], `${at}[]`)))
      .find(Boolean);
  if (mine === null || theirs === null || typeof mine !== "object" || typeof theirs !== "object")
    return typeof mine === typeof theirs && Array.isArray(mine) === Array.isArray(theirs) ? undefined : at;
  for (const [key, value] of Object.entries(mine)) {
    if (!(key in theirs)) return `${at}.${key}`;
    const found = invention(value, (theirs as Record<string, unknown>)[key], `${at}.${key}`);
    if (found !== undefined) return found;
  }
  return undefined;
}

interface Answer {
  status: number;
  type: string | undefined;
  body: string;
}
function ask(port: number, { method, path, headers, body }: Exchange["request"]): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const options = { port, host: "127.0.0.1", method, path, headers: Object.fromEntries(headers), agent: false };
    const request = httpRequest(options, (response) => {
      let text = "";
      const end = () => {
        resolve({ status: response.statusCode ?? 0, type: response.headers["content-type"], body: text });
        request.destroy();
      };
      response.on("data", (chunk: Buffer) => {
        text += chunk.toString();
        // Of a stream the first line.
        if (path.includes("monitor") && text.includes("\n")) end();
      });
      response.on("end", end);
    });
    request.on("error", reject);
    request.end(body ?? undefined);
  });
}
const firstValue = (text: string): unknown => (text.trim() === "" ? undefined : JSON.parse(text.split("\n")[0] ?? ""));

const delegate = "tz1gJqydwxKpxGj8jABfTTLojtpyyvHAhhcj";
const wireParameters: ChainOptions = {
  ...{ seed: "wire", chainId: "NetXdQprcVkpaWU", protocol: "PsUshuai9QapM5TGj1JpuVGkdxz5GykdnEvS6Rh8SUVrARvZLCY" },
  ...{ blockMs: 2000, delegate, consensusKey: delegate, blockShare: 0.5, attestationShare: 1 },
  ...{ blocksPerCycle: 16, blocksPerCommitment: 4, revelationBlocks: 12, startLevel: 103, virtualPeers: 0 },
};

test("the double answers every recorded request as octez-node 25.1 did", async () => {
  const chain = new Chain(wireParameters);
  const served = await chain.serve("127.0.0.1");
  lab.chain = `127.0.0.1:${served.port}`;
  const view = new NodeView();
  view.parameters = wireParameters;
  for (const name of ["005-header-level", "003-header-head-tilde-2", "002-header-head"])
    view.accept(recordedBlock(name));
  const rpc = new NodeRpc(view);
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (chunk: Buffer) => (body += chunk.toString()));
    request.on("end", () => void rpc.serve(request, response, new URL(request.url ?? "/", "http://octez"), body));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const differences: unknown[] = [];
  try {
    for (const [name, { request, response }] of recordings) {
      if (notModelled[name] !== undefined) continue;
      const got = await ask((server.address() as AddressInfo).port, request);
      const theirs = bodyOf(response);
      const expected = { status: response.status, type: headerOf(response.headers, "content-type") };
      const invented =
        expected.type === "application/json"
          ? invention(firstValue(got.body), firstValue(theirs))
          : got.body.slice(0, 24) === theirs.slice(0, 24)
            ? undefined
            : got.body;
      if (got.status !== expected.status || (theirs !== "" && got.type !== expected.type) || invented !== undefined)
        differences.push({ name, got, expected, invented, theirs: theirs.slice(0, 200) });
      // Of the same block the same header.
      if (request.path.endsWith("/header") && response.status === 200)
        expect([name, JSON.parse(got.body)]).toEqual([name, JSON.parse(theirs)]);
    }
    expect(differences).toEqual([]);
  } finally {
    server.close();
    server.closeAllConnections();
    served.close();
    chain.stop();
  }
});

test("the double tells protocols and votes in the form of octez-node", async () => {
  const view = new NodeView();
  view.accept(recordedBlock("002-header-head"));
  const server = createServer((request, response) => {
    void new NodeRpc(view).serve(request, response, new URL(request.url ?? "/", "http://octez"), "");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const told = async (path: string): Promise<unknown> => {
    const request = { method: "GET", path, headers: [], body: null };
    const { status, type, body } = await ask((server.address() as AddressInfo).port, request);
    expect([status, type]).toEqual([200, "application/json"]);
    return JSON.parse(body);
  };
  try {
    const parameters = { ...wireParameters, amendment: { hash: unheardOf, period: "promotion" as const } };
    view.parameters = parameters;
    for (const name of ["protocols", "period", "proposal"] as const) {
      const [mine, theirs] = [await told(votePaths[name]), JSON.parse(mainnetAnswers[name]) as unknown];
      expect([name, invention(mine, theirs), invention(theirs, mine)]).toEqual([name, undefined, undefined]);
    }
    expect(await told(votePaths.proposal)).toBe(unheardOf);
    // Level 106 is the 106th of 128 blocks of its period.
    expect(await told(votePaths.period)).toEqual({
      voting_period: { index: 0, kind: "promotion", start_position: 0 },
      ...{ position: 105, remaining: 22 },
    });
    view.parameters = wireParameters;
    expect(await told(votePaths.proposal)).toBeNull();
    expect(await told(votePaths.period)).toMatchObject({ voting_period: { kind: "proposal" } });
  } finally {
    server.close();
    server.closeAllConnections();
  }
});

test("a stream of the mempool that has ended with its head gets nothing more", () => {
  const view = new NodeView();
  const [older, head] = [recordedBlock("003-header-head-tilde-2"), recordedBlock("002-header-head")];
  view.accept(older);
  const written: string[] = [];
  let ended = false;
  const response = {
    ...{ writeHead: () => undefined, on: () => undefined, end: () => (ended = true) },
    write: (text: string) => {
      if (ended) throw new Error("write after end");
      written.push(text);
    },
  } as unknown as ServerResponse;
  view.stream(response, view.operations, [[]]);
  view.accept(head);
  const { hash, level, round, payloadHash } = head;
  view.receive({ quorum: { hash, level, round, payloadHash } });
  expect([ended, written]).toEqual([true, ["[]\n"]]);
});
