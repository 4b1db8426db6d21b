import fc from "fast-check";
import { objectSplitter } from "../../../daemons/runtime/http-client";

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));

test("a stream of objects is split the same way, however it is cut into chunks", () => {
  console.log(`SEED=${seed}`);
  fc.assert(
    fc.property(
      fc.array(fc.dictionary(fc.string(), fc.jsonValue()), { maxLength: 5 }),
      fc.constantFrom("", "\n", " \r\n\t"),
      fc.array(fc.nat(40), { minLength: 1, maxLength: 20 }),
      (objects, separator, cuts) => {
        const splitter = objectSplitter(100_000);
        let rest = objects.map((object) => JSON.stringify(object)).join(separator) + separator;
        const got: string[] = [];
        for (let i = 0; rest !== ""; i++) {
          const size = 1 + (cuts[i % cuts.length] ?? 0);
          got.push(...splitter.push(rest.slice(0, size)));
          rest = rest.slice(size);
        }
        expect(got).toEqual(objects.map((object) => JSON.stringify(object)));
        expect(splitter.empty).toBe(true);
      },
    ),
    { seed, numRuns: 200 },
  );
});

test("a half object is not a clean end", () => {
  const splitter = objectSplitter(100);
  expect(splitter.push('{"a": "}')).toEqual([]);
  expect(splitter.empty).toBe(false);
  expect(splitter.push('"}{')).toEqual(['{"a": "}"}']);
  expect(splitter.empty).toBe(false);
});

test.each(["[1]", "<html>", '{"a":1},', '"text"'])("%s is no stream of objects", (text) => {
  expect(() => objectSplitter(100).push(text)).toThrow("not a stream of JSON objects");
});

test("an object without end is refused at its limit", () => {
  const splitter = objectSplitter(100);
  splitter.push('{"a":"');
  expect(() => splitter.push("x".repeat(100))).toThrow("more than 100 characters");
});
