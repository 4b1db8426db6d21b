/** The cluster's DNS: who asks it, and what happens while it is silent. */
import type { LookupAddress } from "node:dns";
import { exchange } from "../../../daemons/runtime/http-exchange";
import { lastGoodAddress } from "../../../daemons/signing-gate/last-address";
import { OctezSigner } from "../../../lab/doubles/signer-server";
import { testKey } from "../../../lab/doubles/signing-keys";

interface Question {
  hostname: string;
  answer(...addresses: string[]): void;
  fail(): void;
}
function dns() {
  const questions: Question[] = [];
  const lookup = lastGoodAddress(
    (hostname) =>
      new Promise((resolve, reject) =>
        questions.push({
          hostname,
          answer: (...addresses) => resolve(addresses.map((address) => ({ address, family: 4 }))),
          fail: () => reject(Object.assign(new Error("EAI_AGAIN"), { code: "EAI_AGAIN" })),
        }),
      ),
  );
  const find = (hostname: string) =>
    new Promise<string>((resolve) =>
      lookup(hostname, { all: true }, (error, addresses) =>
        resolve(error ? (error.code ?? "") : (addresses as LookupAddress[]).map(({ address }) => address).join()),
      ),
    );
  return { questions, find };
}

test("the first address is what the DNS answers, and an error where it has none", async () => {
  const { questions, find } = dns();
  const [first, second] = [find("signer"), find("signer")];
  expect(questions).toHaveLength(1);
  questions[0]?.answer("10.0.0.1", "10.0.0.2");
  expect([await first, await second]).toEqual(["10.0.0.1,10.0.0.2", "10.0.0.1,10.0.0.2"]);
  const other = find("other");
  questions[1]?.fail();
  expect(await other).toBe("EAI_AGAIN");
});

test("while the DNS is silent the last good address serves, and one question is under way; its answer is taken over", async () => {
  const { questions, find } = dns();
  const first = find("signer");
  questions[0]?.answer("10.0.0.1");
  await first;
  for (let i = 0; i < 3; i++) expect(await find("signer")).toBe("10.0.0.1");
  expect(questions).toHaveLength(2);
  questions[1]?.answer("10.0.0.9");
  await new Promise((resolve) => setImmediate(resolve));
  const next = find("signer");
  questions[2]?.fail();
  expect(await next).toBe("10.0.0.9");
  const again = find("signer");
  questions[3]?.answer();
  expect(await again).toBe("10.0.0.9");
});

test("names that hang do not take every thread: a name whose address is known is not asked for then", async () => {
  const { questions, find } = dns();
  const first = find("signer");
  questions[0]?.answer("10.0.0.1");
  await first;
  void find("a");
  void find("b");
  expect(await find("signer")).toBe("10.0.0.1");
  expect(questions.map(({ hostname }) => hostname)).toEqual(["signer", "a", "b"]);
});

test("a request that asks for one address gets the first", async () => {
  const lookup = lastGoodAddress(() => Promise.resolve([{ address: "10.0.0.1", family: 4 }]));
  const found = await new Promise((resolve) =>
    lookup("signer", {}, (error, address, family) => resolve([error, address, family])),
  );
  expect(found).toEqual([null, "10.0.0.1", 4]);
});

test("a new connection to a signer is made while the DNS is silent", async () => {
  const signer = new OctezSigner({ keys: [testKey("tz1", "baker")] });
  const port = await signer.start("127.0.0.1");
  let silent = false;
  const lookup = lastGoodAddress(() =>
    silent ? new Promise(() => undefined) : Promise.resolve([{ address: "127.0.0.1", family: 4 }]),
  );
  const get = () =>
    exchange(new URL(`http://signer.test:${port}/authorized_keys`), {
      ...{ method: "GET", timeoutMs: 10_000, agent: false, lookup },
    });
  expect(await get()).toMatchObject({ ok: true, status: 200 });
  silent = true;
  expect(await get()).toMatchObject({ ok: true, status: 200 });
  await signer.close();
});
