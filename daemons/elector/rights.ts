/** The delegate's baking rights, from the pod's own node. */
import { Agent } from "node:http";
import { z } from "zod";
import { ports } from "../../contract/ports";
import type { Rights } from "./elector";
import { readJson } from "./pod-status";

const rightsSchema = z.array(z.object({ level: z.number().int(), delegate: z.string(), round: z.number().int() }));
const constantsSchema = z.object({ minimal_block_delay: z.string().regex(/^\d+$/) });

/** @param host loopback address of the pod */
export function createRights(host: string, delegate: string, timeoutMs: number): Rights {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const get = async <S extends z.ZodType>(path: string, schema: S, signal: AbortSignal): Promise<z.infer<S>> => {
    const answer = await readJson({ agent, host, port: ports.octezRpc, path, schema, timeoutMs, signal });
    if (answer === null) throw new Error(`the node did not answer ${path}`);
    return answer;
  };
  return {
    bakingLevels: async (levels, signal) => {
      const query = new URLSearchParams([...levels.map((level) => ["level", String(level)]), ["delegate", delegate], ["max_round", "1"]]);
      const rights = await get(`/chains/main/blocks/head/helpers/baking_rights?${query}`, rightsSchema, signal);
      return rights.filter((right) => right.delegate === delegate && levels.includes(right.level)).map((right) => right.level);
    },
    blockSeconds: async (signal) =>
      Number((await get("/chains/main/blocks/head/context/constants", constantsSchema, signal)).minimal_block_delay),
  };
}
