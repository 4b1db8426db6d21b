import { publicKeyHash, verifySignature } from "../../tezos/keys";
import { exchangesOf } from "../helpers/octez-recordings";

const exchanges = exchangesOf("octez-signer");
const publicKeys = exchanges.flatMap(([, { response }]) => {
  const text = /"public_key":"(\w+)"/.exec(response.body)?.[1];
  return text === undefined ? [] : [text];
});
const signed = exchanges.flatMap(([name, { request, response }]) => {
  const address = /^\/keys\/(\w+)/.exec(request.path)?.[1] ?? "";
  const signature = /"signature":"(\w+)"/.exec(response.body)?.[1];
  const publicKey = publicKeys.find((key) => publicKeyHash(key) === address);
  if (signature === undefined || publicKey === undefined) return [];
  return [{ name, address, publicKey, signature, bytes: Buffer.from(JSON.parse(request.body ?? "") as string, "hex") }];
});

test.each(["tz1", "tz4"])("the recorded signatures of octez-signer 25.1 verify: %s", (curve) => {
  const mine = signed.filter(({ address }) => address.startsWith(curve));
  expect(mine.length).toBeGreaterThan(5);
  for (const { name, publicKey, bytes, signature } of mine) {
    expect([name, verifySignature(publicKey, bytes, signature)]).toEqual([name, true]);
    expect([name, verifySignature(publicKey, Buffer.concat([bytes, Buffer.of(0)]), signature)]).toEqual([name, false]);
  }
});
