import { protect, withoutCreationTraces } from "../../constructs/element";

test("an error in a declaration keeps its own stack trace, and later errors have theirs", () => {
  const failing = () =>
    withoutCreationTraces(() => {
      throw new Error("a rule");
    });
  let caught: unknown;
  try {
    failing();
  } catch (error) {
    caught = error;
  }
  expect((caught as Error).message).toBe("a rule");
  expect((caught as Error).stack).toContain("element.test");
  expect(new Error("later").stack).toContain("element.test");
});
test("protection is a literal, as Terraform wants it", () => {
  expect(protect(true)).toEqual({ preventDestroy: true });
  expect(protect(false, ["data"])).toEqual({ preventDestroy: false, ignoreChanges: ["data"] });
});
