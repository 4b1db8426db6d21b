/** The options of `npm start` are judged before anything starts. */
import { numberOption } from "../../lab/commands/start";

const runs = numberOption("--runs", "a whole number", 1, 10_000);
const seconds = numberOption("--start-time", "a number of seconds", 0, 600, /^\d+(\.\d+)?$/);

test("numbers as people write them", () => {
  expect(runs("3")).toBe(3);
  expect(seconds("2.5")).toBe(2.5);
});
test.each(["", "0", "0x10", "1e3", "three", "-1", "10001"])("a clear no to %p", (text) => {
  expect(() => runs(text)).toThrow(`--runs is a whole number from 1 to 10000, written in digits; got "${text}"`);
});
