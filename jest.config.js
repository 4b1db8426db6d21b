/** The ordinary suite: `npm test`. Needs Node only. */
const heavy = ["cluster", "nodes", "octez", "ssh", "browser", "soak", "terraform", "history"];

module.exports = {
  testEnvironment: "node",
  roots: ["<rootDir>/__tests__"],
  testMatch: ["**/*.test.ts"],
  testPathIgnorePatterns: ["/node_modules/", `\\.(${heavy.join("|")})\\.test\\.ts$`],
  transform: { "^.+\\.ts$": ["@swc/jest", { jsc: { target: "es2022", parser: { syntax: "typescript" } } }] },
  modulePathIgnorePatterns: ["<rootDir>/dist", "<rootDir>/cdktf.out", "<rootDir>/.cache"],
  // The longest suites wait for real processes and clocks more than they compute.
  maxWorkers: 4,
  // Only what never ends is ended by time: real processes on a busy machine are slow, and what must be fast is a benchmark.
  testTimeout: 180_000,
};
