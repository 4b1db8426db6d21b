/** Suites that need more than Node (a browser, OpenSSH, Octez, Terraform, a real API server) or more time. Each says what it misses. */
const base = require("./jest.config.js");

module.exports = {
  ...base,
  testMatch: ["**/*.{cluster,nodes,octez,ssh,browser,soak,terraform,history}.test.ts"],
  testPathIgnorePatterns: ["/node_modules/"],
  testTimeout: 600_000,
};
