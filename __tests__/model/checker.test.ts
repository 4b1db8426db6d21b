/** The checker itself, on models whose state spaces are known from elsewhere. */
import { check, type Model } from "../../model/checker";

/** Two jugs of 5 and 3 litres: 4 litres take six pourings. */
const jugs = (property: (large: number, small: number) => string | undefined): Model<[number, number]> => ({
  initial: [[0, 0]],
  next([large, small], step) {
    step("fill the large jug", [5, small]);
    step("fill the small jug", [large, 3]);
    step("empty the large jug", [0, small]);
    step("empty the small jug", [large, 0]);
    const down = Math.min(large, 3 - small);
    step("pour the large jug into the small one", [large - down, small + down]);
    const up = Math.min(small, 5 - large);
    step("pour the small jug into the large one", [large + up, small - up]);
  },
  key: (state) => state.join(),
  broken: ([large, small]) => property(large, small),
});

test("it visits every state once: the two jugs have 16", () => {
  expect(check(jugs(() => undefined))).toMatchObject({ states: 16, steps: 96, complete: true, violation: undefined });
});

test("the violation that it finds is a shortest one", () => {
  const { violation } = check(jugs((large) => (large === 4 ? "four litres" : undefined)));
  expect(violation).toEqual({
    property: "four litres",
    story: [
      "fill the large jug",
      "pour the large jug into the small one",
      "empty the small jug",
      "pour the large jug into the small one",
      "fill the large jug",
      "pour the large jug into the small one",
    ],
  });
});

/** Peterson's mutual exclusion; without the wait for the turn both are inside. */
interface Peterson {
  at: [number, number];
  wants: [boolean, boolean];
  turn: number;
}
const peterson = (waits: boolean): Model<Peterson> => ({
  initial: [{ at: [0, 0], wants: [false, false], turn: 0 }],
  next(state, step) {
    for (const me of [0, 1] as const) {
      const other = me === 0 ? 1 : 0;
      const go = (at: number, change: Partial<Peterson> = {}) => {
        const after = { ...state, ...change };
        step(`${me} to ${at}`, { ...after, at: me === 0 ? [at, after.at[1]] : [after.at[0], at] });
      };
      const wants = (value: boolean): Peterson["wants"] =>
        me === 0 ? [value, state.wants[1]] : [state.wants[0], value];
      if (state.at[me] === 0) go(1, { wants: wants(true) });
      else if (state.at[me] === 1) go(2, { turn: other });
      else if (state.at[me] === 2) {
        if (!waits || !state.wants[other] || state.turn === me) go(3);
      } else go(0, { wants: wants(false) });
    }
  },
  key: (state) => JSON.stringify(state),
  broken: ({ at }) => (at[0] === 3 && at[1] === 3 ? "both are inside" : undefined),
});

test("it finds Peterson's algorithm right, and wrong without its wait", () => {
  expect(check(peterson(true))).toMatchObject({ complete: true, violation: undefined });
  expect(check(peterson(false)).violation?.property).toBe("both are inside");
});

test("a hundred thousand states are told apart, and a bound ends the search without a verdict", () => {
  const counter: Model<number> = {
    initial: [0],
    next: (n, step) => {
      step("add one", (n + 1) % 100_000);
      step("double", (n * 2) % 100_000);
    },
    key: (n) => `state ${n}`,
    broken: () => undefined,
  };
  expect(check(counter)).toMatchObject({ states: 100_000, complete: true });
  const bounded = check(counter, 1000);
  expect(bounded.complete).toBe(false);
  expect(bounded.states).toBeGreaterThanOrEqual(1000);
});
