import type { ConfigMap, KubeClient, Outcome } from "../../../daemons/runtime/kube";
import { systemClock } from "../../../daemons/runtime/clock";
import { limited } from "../../../daemons/signing-gate/limit";

/** An API that answers when the test says so. */
function slowApi(waitMs: number) {
  const asked: string[] = [];
  const answers: (() => void)[] = [];
  const get = (_resource: string, name: string): Promise<Outcome<ConfigMap>> =>
    new Promise((resolve) => {
      asked.push(name);
      answers.push(() =>
        resolve({ ok: false, kind: "not-found", unknown: false, status: 404, message: "", sentAtMs: 0 }),
      );
    });
  const kube = { get, replace: get } as unknown as Pick<KubeClient, "get" | "replace">;
  return { asked, answers, kube: limited(kube, waitMs, systemClock) };
}

test("eight requests at once, the others in the order in which they came", async () => {
  const { asked, answers, kube } = slowApi(60_000);
  const all = Array.from({ length: 12 }, (_, i) => kube.get("configmaps", String(i), { timeoutMs: 60_000 }));
  expect(asked).toEqual(["0", "1", "2", "3", "4", "5", "6", "7"]);
  answers[3]?.();
  await all[3];
  expect(asked.slice(8)).toEqual(["8"]);
  for (let i = 0; i < 12; i++) {
    answers[i]?.();
    await all[i];
  }
  expect(asked.slice(8)).toEqual(["8", "9", "10", "11"]);
});

test("behind an API that hangs waiting ends with the budget of a signature, and nothing was sent", async () => {
  const { asked, answers, kube } = slowApi(20);
  for (let i = 0; i < 8; i++) void kube.get("configmaps", "hangs", { timeoutMs: 60_000 });
  const late = await Promise.all(
    Array.from({ length: 3 }, () => kube.get("configmaps", "late", { timeoutMs: 60_000 })),
  );
  for (const outcome of late) expect(outcome).toMatchObject({ ok: false, kind: "timeout", unknown: false });
  expect(asked).not.toContain("late");
  // Who gave up takes no turn away.
  const next = kube.get("configmaps", "next", { timeoutMs: 60_000 });
  answers[0]?.();
  await new Promise((resolve) => setImmediate(resolve));
  expect(asked).toContain("next");
  answers[8]?.();
  expect(await next).toMatchObject({ kind: "not-found" });
});
