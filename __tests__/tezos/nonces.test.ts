import fc from "fast-check";
import {
  checkBundle,
  encodeNonceHash,
  laterState,
  mergeLegacy,
  mergeSets,
  mergeStateful,
  NonceFileError,
  nonceFileKind,
  nonceFiles,
  nonceHash,
  parseLegacy,
  parseStateful,
  retain,
  salvage,
  serialise,
  uncovered,
  type LegacyNonce,
  type SeedNonce,
} from "../../tezos/nonces";
import { makeNonce } from "../helpers/nonce-pods";

const mainnet = "NetXdQprcVkpaWU";
const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
const check = (property: fc.IProperty<never> | fc.IPropertyWithHooks<never>): void =>
  fc.assert(property, { seed, numRuns: 150 });
const pool = Array.from({ length: 6 }, (_, index) => makeNonce({ seed: index }));
const state = fc.oneof(
  fc.constant<"committed">("committed"),
  fc.record({ injection_level: fc.integer({ min: 1, max: 4 }) }),
  fc.record({ injection_level: fc.integer({ min: 1, max: 4 }), by: fc.integer({ min: 0, max: 2 }) }),
);
const extra = fc.dictionary(fc.constantFrom("memo", "note", "__proto__", "toString"), fc.jsonValue({ maxDepth: 1 }), {
  maxKeys: 2,
});
const entry = fc
  .tuple(fc.constantFrom(...pool), state, extra, fc.integer({ min: 0, max: 2 }), fc.constantFrom(...pool))
  .map(([base, itsState, extras, round, other]): SeedNonce => {
    const made = { ...base, round, block: round === 0 ? base.block : other.block, state: itsState } as SeedNonce;
    for (const [key, value] of Object.entries(extras))
      Object.defineProperty(made, key, { value, enumerable: true, configurable: true });
    return made;
  });
const list = fc.array(entry, { maxLength: 8 });
const legacyList = fc.array(
  fc.record({
    block: fc.constantFrom(...pool.map(({ block }) => block)),
    nonce: fc.constantFrom(...pool.map(({ nonce }) => nonce)),
  }),
  { maxLength: 6 },
) as fc.Arbitrary<LegacyNonce[]>;
const text = (entries: readonly SeedNonce[]): string => serialise(mergeStateful(entries, []));

describe("the hash of a nonce", () => {
  test("is base58check as other Tezos programs write it", () => {
    // Published with the bytes by a Tezos SDK; the second one is from a block of a public network.
    expect(
      encodeNonceHash(Buffer.from("bd955c322ffde62d9eecab96beb6f15587d2a456cd2b1975cf164868c08b0d39", "hex")),
    ).toBe("nceVfSgRRamurzg5PZNunEkbmwQWtFWQj93bXkHu4sKb9HBu4WSah");
    expect(nonceHash("00".repeat(32))).toMatch(/^nce[1-9A-HJ-NP-Za-km-z]{50}$/);
  });
  test("is BLAKE2b-256 of the 32 bytes", () => {
    // hashlib.blake2b(bytes(32), digest_size=32), known from many chains.
    expect(nonceHash("00".repeat(32))).toBe(
      encodeNonceHash(Buffer.from("89eb0d6a8a691dae2cd15ed0369931ce0a949ecafa5c3f93f8121833646e15c3", "hex")),
    );
  });
});

describe(`merge (SEED=${seed})`, () => {
  test("is commutative", () =>
    check(
      fc.property(list, list, (a, b) =>
        expect(serialise(mergeStateful(a, b))).toBe(serialise(mergeStateful(b, a))),
      ) as never,
    ));
  test("is associative", () =>
    check(
      fc.property(list, list, list, (a, b, c) =>
        expect(serialise(mergeStateful(mergeStateful(a, b), c))).toBe(serialise(mergeStateful(a, mergeStateful(b, c)))),
      ) as never,
    ));
  test("is idempotent", () =>
    check(
      fc.property(list, list, (a, b) =>
        expect(serialise(mergeStateful(mergeStateful(a, b), b))).toBe(serialise(mergeStateful(a, b))),
      ) as never,
    ));
  test("of legacy pairs is commutative, associative and idempotent", () =>
    check(
      fc.property(legacyList, legacyList, legacyList, (a, b, c) => {
        expect(mergeLegacy(a, b)).toEqual(mergeLegacy(b, a));
        expect(mergeLegacy(mergeLegacy(a, b), c)).toEqual(mergeLegacy(a, mergeLegacy(b, c)));
        expect(mergeLegacy(mergeLegacy(a, b), b)).toEqual(mergeLegacy(a, b));
      }) as never,
    ));
  test("drops no nonce and no unknown field, and no state goes backwards", () =>
    check(
      fc.property(list, list, (a, b) => {
        const merged = new Map(mergeStateful(a, b).map((one) => [one.hash, one]));
        for (const one of [...a, ...b]) {
          const result = merged.get(one.hash);
          expect(result?.nonce).toBe(one.nonce);
          expect(Object.keys(result ?? {})).toEqual(expect.arrayContaining(Object.keys(one)));
          expect(laterState(result?.state ?? "committed", one.state)).toEqual(result?.state);
        }
      }) as never,
    ));
  test("survives writing and reading", () =>
    check(fc.property(list, (entries) => expect(text(parseStateful(text(entries)))).toBe(text(entries))) as never));
});

test("revealed wins over committed, and the later injection over the earlier", () => {
  const committed = makeNonce({ seed: 1 });
  const revealed = { ...committed, state: { injection_level: 5 } };
  const again = { ...committed, state: { injection_level: 9 } };
  expect(mergeStateful([revealed], [committed])[0]?.state).toEqual({ injection_level: 5 });
  expect(mergeSets({ stateful: [again], legacy: [] }, { stateful: [revealed], legacy: [] }).stateful[0]?.state).toEqual(
    {
      injection_level: 9,
    },
  );
});

test("retention keeps what may still be revealed and drops what is older than the baker itself keeps", () => {
  const entries = [1196, 1197, 1198, 1199, 1200, 1201].map((cycle, index) => makeNonce({ seed: index, cycle }));
  expect(retain(entries, 1200, 2).map(({ cycle }) => cycle)).toEqual([1198, 1199, 1200, 1201]);
  expect(retain(entries, 1200, 0).map(({ cycle }) => cycle)).toEqual([1199, 1200, 1201]);
  expect(retain(entries, undefined, 2)).toHaveLength(6);
});

test("reads what octez-baker writes, in any layout, and keeps a second file's text stable", () => {
  const { nonce, hash, block } = makeNonce({ seed: 1 });
  const octez = `[ { "nonce":\n      "${nonce}",\n    "hash": "${hash}",\n "block": "${block}",\n "cycle": 3, "level": 99,\n "state": { "injection_level": 120 } } ]`;
  const [read] = parseStateful(octez);
  expect(read).toEqual({ nonce, hash, block, cycle: 3, level: 99, state: { injection_level: 120 } });
  expect(Object.keys(read ?? {})).toEqual(["nonce", "hash", "block", "cycle", "level", "state"]);
  expect(parseStateful("[]")).toEqual([]);
});

describe("a broken file is an error, never an empty list", () => {
  const good = makeNonce({ seed: 1 });
  const cases: [string, string, string][] = [
    ["an empty file", "", "not-json"],
    ["zeros after a power loss", "\0".repeat(300), "not-json"],
    ["truncated JSON", JSON.stringify([good]).slice(0, -5), "not-json"],
    ["an object", "{}", "not-a-list"],
    ["null", "null", "not-a-list"],
    [
      "a hash that does not fit its nonce",
      JSON.stringify([{ ...good, hash: makeNonce({ seed: 2 }).hash }]),
      "hash-mismatch",
    ],
    ["an unknown state", JSON.stringify([{ ...good, state: "forgotten" }]), "field"],
    ["a level that is no level", JSON.stringify([{ ...good, level: -1 }]), "field"],
    ["a level beyond int32", JSON.stringify([{ ...good, level: 2 ** 31 }]), "field"],
    ["a block that is no block hash", JSON.stringify([{ ...good, block: "BL" }]), "field"],
    ["a short nonce", JSON.stringify([{ ...good, nonce: "00" }]), "field"],
    ["an entry that is no object", "[1]", "field"],
    [
      "an unknown field that is too deep",
      JSON.stringify([{ ...good, memo: "x" }]).replace('"x"', "[".repeat(9000) + "]".repeat(9000)),
      "field",
    ],
  ];
  test.each(cases)("%s", (_name, broken, code) => {
    const caught = ((): unknown => {
      try {
        return parseStateful(broken);
      } catch (error) {
        return error;
      }
    })();
    expect(caught).toBeInstanceOf(NonceFileError);
    expect((caught as NonceFileError).code).toBe(code);
    expect((caught as NonceFileError).message).not.toContain(good.nonce);
  });
  test("a legacy file too", () => {
    expect(() => parseLegacy('[{"block":"x"}]')).toThrow(NonceFileError);
  });
});

test("whole entries are salvaged from a truncated file, and no others", () => {
  const entries = [1, 2, 3].map((index) => makeNonce({ seed: index, state: { injection_level: 7 } }));
  const whole = serialise(entries);
  expect(salvage(whole.slice(0, -40))).toHaveLength(2);
  expect(salvage(whole.replace(entries[1]?.nonce ?? "", "f".repeat(64)))).toHaveLength(2);
  expect(salvage("\0\0")).toEqual([]);
  expect(salvage(whole.slice(0, -40) + "\0".repeat(10_000_000))).toHaveLength(2);
});

test("files are found by their ending, whatever the case and length of the chain's prefix, and never those of another chain", () => {
  expect(nonceFileKind("NetXdQprcVkpa_stateful_nonces", mainnet)).toBe("stateful_nonces");
  expect(nonceFileKind("netXdQprcVkpaWU_stateful_nonces", mainnet)).toBe("stateful_nonces");
  expect(nonceFileKind("NetXsqzbfFenS_stateful_nonces", mainnet)).toBe("foreign");
  expect(nonceFileKind("NetXdQprcVkpa_highwatermarks", mainnet)).toBeUndefined();
  expect(nonceFileKind("NetXdQprcVkpa_stateful_nonces.broken-1", mainnet)).toBeUndefined();
  expect(
    nonceFiles(["NetXdQprcVkpaWU_nonces", "NetXdQprcVkpa_nonces", "NetXsqzbfFenS_nonces", "nonces"], mainnet),
  ).toEqual({
    own: { nonces: "NetXdQprcVkpa_nonces" },
    others: [{ nonces: "NetXdQprcVkpaWU_nonces" }],
    foreign: ["NetXsqzbfFenS_nonces"],
  });
});

test("an export of another chain or baker is refused", () => {
  const bundle = JSON.stringify({ version: 1, chain: mainnet, baker: "alice", stateful: [], legacy: [] });
  expect(checkBundle(bundle, { chain: mainnet, baker: "alice" }).stateful).toEqual([]);
  expect(() => checkBundle(bundle, { chain: "NetXsqzbfFenSTS" })).toThrow(
    "the export must be of chain NetXsqzbfFenSTS, got NetXdQprcVkpaWU",
  );
  expect(() => checkBundle(bundle, { baker: "bob" })).toThrow("the export must be of baker bob, got alice");
  expect(() => checkBundle("[]")).toThrow("has version 1");
});

test("a round that is null is as good as absent", () => {
  const entry = makeNonce({ seed: 1 });
  delete entry.round;
  expect(parseStateful(JSON.stringify([{ ...entry, round: null }]))).toEqual([entry]);
});
test("unknown fields inside the state survive a merge, whichever of the two is further", () => {
  const entry = makeNonce({ seed: 1 });
  const a = { ...entry, state: { injection_level: 5, why: "first" } };
  const b = { ...entry, state: { injection_level: 9, other: { deep: 1 } } };
  const both = { injection_level: 9, other: { deep: 1 }, why: "first" };
  expect([mergeStateful([a], [b])[0]?.state, mergeStateful([b], [a])[0]?.state]).toEqual([both, both]);
});
test("braces in a text neither end an entry nor hide those after it", () => {
  const entries = [1, 2, 3].map((seed) => makeNonce({ seed, memo: `a } and a { and a \\" ${seed}` }));
  expect(salvage(serialise(entries).slice(0, -40))).toEqual(entries.slice(0, 2));
});
test("of two pairs of one block the hash decides; where it is not known both stay", () => {
  const right = makeNonce({ seed: 1 });
  const pairs = ["0", "f"].map((digit) => ({ block: right.block, nonce: digit.repeat(64) }));
  const [low, high] = pairs;
  if (!low || !high) throw new Error("two pairs");
  expect(mergeLegacy([low], [high])).toEqual([low, high]);
  expect(uncovered(pairs, [right])).toEqual([]);
  expect(uncovered(pairs, [{ ...right, nonce: "a".repeat(64) }])).toEqual(pairs);
});
