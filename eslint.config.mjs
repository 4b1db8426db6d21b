import tseslint from "typescript-eslint";

const barrels = {
  regex: "^@cdktf/provider-[a-z]+(/lib)?(/index)?$",
  message:
    "Import from the deep path (@cdktf/provider-google/lib/container-cluster): the barrel costs 12 s and 1.1 GB at synth.",
};
const cdktf = {
  regex: "^(cdktf|constructs|@cdktf/provider-.*)$",
  message: "cdktf stays in constructs/, main.ts and tests, so that the way to another engine stays short.",
};

export default tseslint.config(
  {
    ignores: [
      "node_modules",
      "dist",
      "cdktf.out",
      ".cache",
      "coverage",
      "lab/page/**",
      "**/*.js",
      "**/*.mjs",
      "**/*.cjs",
    ],
  },
  ...tseslint.configs.recommended,
  {
    files: ["**/*.ts"],
    languageOptions: { parserOptions: { project: "./tsconfig.json", tsconfigRootDir: import.meta.dirname } },
    rules: {
      "@typescript-eslint/no-floating-promises": "error",
      "@typescript-eslint/no-misused-promises": "error",
      "@typescript-eslint/await-thenable": "error",
      "@typescript-eslint/switch-exhaustiveness-check": "error",
      "@typescript-eslint/no-explicit-any": "error",
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", caughtErrors: "none" }],
      "@typescript-eslint/consistent-type-imports": "error",
      "no-restricted-imports": ["error", { patterns: [barrels] }],
      eqeqeq: "error",
      "max-len": [
        "error",
        { code: 120, ignoreStrings: true, ignoreTemplateLiterals: true, ignoreUrls: true, ignoreRegExpLiterals: true },
      ],
    },
  },
  {
    files: ["contract", "tezos", "configuration", "daemons", "manifests", "diagnosis", "cockpit", "lab", "model"].map(
      (room) => `${room}/**/*.ts`,
    ),
    rules: { "no-restricted-imports": ["error", { patterns: [barrels, cdktf] }] },
  },
  {
    files: ["**/*.ts"],
    ignores: [
      "**/config.ts",
      "scripts/**",
      "tools/**",
      "cockpit/**",
      "configuration/**",
      "__tests__/**",
      "lab/**",
      "main.ts",
    ],
    rules: {
      "no-restricted-properties": [
        "error",
        { object: "process", property: "env", message: "process.env is read in a config.ts only." },
      ],
    },
  },
  {
    files: ["**/*.ts"],
    ignores: ["__tests__/**"],
    rules: { "max-lines-per-function": ["error", { max: 70 }] },
  },
  {
    files: ["daemons/**/*.ts", "tezos/**/*.ts"],
    rules: {
      "no-restricted-syntax": [
        "error",
        {
          selector: "CallExpression[callee.object.name='Date'][callee.property.name='now']",
          message: "Use the injected clock; ages are monotonic.",
        },
      ],
    },
  },
);
