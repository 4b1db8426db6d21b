/**
 * The two commands of octez-client that change a delegate's keys, for a laboratory: the public keys and, of a tz4 key,
 * the proof of possession come from a signer at home, as they do where the client has a remote key.
 */
import type { KeyKind } from "./chain/keys";
import type { Lab } from "./lab";

export interface OctezClient {
  lab: Lab;
  /** Alias -> address, as the client's folder knows them. */
  aliases: Readonly<Record<string, string>>;
  /** Address and port of a signer that holds the keys. */
  signer: string;
}

async function ask(url: string, field: string): Promise<string> {
  const response = await fetch(url, { signal: AbortSignal.timeout(5000) });
  const text = await response.text();
  if (response.status !== 200) throw new Error(`${url} answers ${response.status}: ${text.trim()}`);
  return String((JSON.parse(text) as Record<string, unknown>)[field]);
}

/** @param words what follows `octez-client`. @throws Error with what is wrong, or as the chain refuses it */
export async function octezClient({ lab, aliases, signer }: OctezClient, words: readonly string[]): Promise<void> {
  const [, kind, delegate = "", alias = ""] =
    /^set (consensus|companion) key for (\S+) to (\S+)$/.exec(words.join(" ")) ?? [];
  if (kind === undefined) throw new Error(`Unrecognized command: ${words.join(" ")}`);
  const address = (name: string): string => {
    const known = aliases[name];
    if (known === undefined) throw new Error(`no contract or key named ${name}`);
    return known;
  };
  if (address(delegate) !== lab.simulation.options.delegate)
    throw new Error(`${delegate} is not a registered delegate`);
  const key = address(alias);
  const publicKey = await ask(`http://${signer}/keys/${key}`, "public_key");
  const proof = key.startsWith("tz4")
    ? await ask(`http://${signer}/bls_prove_possession/${key}`, "bls_prove_possession")
    : undefined;
  const answer = lab.simulation.registerKey({ kind: kind as KeyKind, publicKey, proof });
  if ("error" in answer) throw new Error(answer.error);
}
