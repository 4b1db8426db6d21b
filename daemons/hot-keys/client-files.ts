/**
 * The files in which an Octez client folder holds unencrypted keys. Source: Octez, src/lib_client_base/client_keys.ml.
 * Pure.
 */
import { publicKeyHash } from "../../tezos/keys";
import { publicKeyOf } from "../../tezos/secret-keys";

const scheme = "unencrypted:";

/**
 * @param secrets address -> "unencrypted:edsk..."; @throws Error, which names addresses and never a secret, where one
 * is not the address's
 */
export function clientFiles(
  secrets: ReadonlyMap<string, string>,
): Record<"secret_keys" | "public_keys" | "public_key_hashs", object[]> {
  const errors: string[] = [];
  const keys = [...secrets].map(([address, text]) => {
    const secret = text.trim();
    const key = secret.startsWith(scheme) ? publicKeyOf(secret.slice(scheme.length)) : undefined;
    const hash = key === undefined ? undefined : publicKeyHash(key);
    if (hash === undefined)
      errors.push(`${address}: must be ${scheme} and an edsk, spsk, p2sk or BLsk key, got something else (not shown)`);
    else if (hash !== address) errors.push(`${address}: must be the key of this address, got the one of ${hash}`);
    return { name: address, secret, key };
  });
  if (keys.length === 0) errors.push("there must be at least one key, named like its address; got none");
  if (errors.length > 0) throw new Error(errors.join("; "));
  return {
    secret_keys: keys.map(({ name, secret }) => ({ name, value: secret })),
    public_keys: keys.map(({ name, key }) => ({ name, value: { locator: `${scheme}${key}`, key } })),
    public_key_hashs: keys.map(({ name }) => ({ name, value: name })),
  };
}
