import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { watermarkDataKey, watermarkName } from "../../contract/names";
import type { Watermark } from "../../contract/watermark";
import { KubeApi } from "../../lab/kube-api";
import { commandPath } from "../helpers/bundle";
import { farLevels, planRaise as plan, raise, type WatermarkObject } from "../../cockpit/watermark-plan";

/** The head is where the record's highest mark is. */
const planRaise = (given: WatermarkObject | undefined, named: string, level: number, options = {}) =>
  plan(given, named, level, { head: 150, far: false, ...options });

const key = "tz1KqTpEZ7Yob7QbPE4Hy4Wo8fHG8LhKxZSx";
const name = watermarkName(key);
const record = (fields: Partial<Watermark> = {}): Watermark => ({
  version: 1,
  baker: "alice",
  chain: "NetXdQprcVkpaWU",
  epoch: 7,
  holder: "alice-as-0_u1",
  floor: 100,
  marks: { block: { level: 120, round: 1, digest: "ab".repeat(32) }, preattestation: null, attestation: null },
  unfenced: false,
  ...fields,
});
const object = (text: string | undefined = JSON.stringify(record())): WatermarkObject => ({
  name,
  uid: "u",
  resourceVersion: "1",
  baker: "alice",
  text,
});

describe("the plan of a raise", () => {
  test("lifts the floor and nothing else", () => {
    expect(planRaise(object(), name, 150)).toMatchObject({ action: "write", record: record({ floor: 150 }) });
  });
  test("a floor at the level of a mark would open on a halted chain: it lies above that level", () => {
    expect(planRaise(object(), name, 120)).toMatchObject({ action: "write", record: record({ floor: 121 }) });
    expect(planRaise(object(), name, 120, { head: 119 }).text).toContain("is signed again from level 122 on");
    const begun = record({ floor: 120 });
    expect(planRaise(object(JSON.stringify(begun)), name, 120)).toMatchObject({ record: { ...begun, floor: 121 } });
    const raised = record({ floor: 121 });
    expect(planRaise(object(JSON.stringify(raised)), name, 120)).toMatchObject({ action: "nothing" });
  });
  test("never lowers", () => {
    expect(planRaise(object(), name, 100)).toMatchObject({ action: "nothing" });
    expect(planRaise(object(), name, 5)).toMatchObject({ action: "nothing" });
  });
  test.each<[string, WatermarkObject | undefined, number, RegExp]>([
    ["a missing object", undefined, 150, /does not exist/],
    ["an object that was never written", object(""), 150, /nothing to raise/],
    ["an unreadable record", object("{"), 150, /cannot be read/],
    ["a record of another baker", { ...object(), baker: "bob" }, 150, /belongs to alice/],
    ["a fraction", object(), 1.5, /whole number/],
    ["no number", object(), NaN, /whole number/],
    [
      "a level far above the head",
      object(),
      151 + farLevels,
      /is 11 levels above the head \(150\).*about 66 seconds.*--far/,
    ],
  ])("refuses %s", (_text, given, level, expected) => {
    const plan = planRaise(given, name, level);
    expect(plan.action).toBe("refuse");
    expect(plan.text).toMatch(expected);
  });
  test("far is possible where it is meant", () => {
    expect(planRaise(object(), name, 3_000_000, { far: true }).action).toBe("write");
  });
  test("it says for how long nothing will be signed, and since when", () => {
    expect(planRaise(object(), name, 155).text).toContain(
      "Nothing is signed from level 151 on, beginning now; the head is level 150. The key is signed again from level 156 on: 5 levels without a signature, about 30 seconds at 6 s a block.",
    );
    const raised = object(JSON.stringify(record({ floor: 152 })));
    expect(planRaise(raised, name, 155).text).toContain("Nothing has been signed since the floor of 152 was set");
    expect(planRaise(object(), name, 140).text).toContain("nothing that is still to be signed is refused");
    expect(planRaise(object(), name, 100_150, { far: true }).text).toContain(
      "100000 levels without a signature, about 10000 minutes",
    );
  });
  test("where nobody tells the head, its level or --far is asked for", () => {
    expect(planRaise(object(), name, 150, { head: undefined })).toMatchObject({
      action: "refuse",
      text: expect.stringContaining("--head") as string,
    });
    expect(planRaise(object(), name, 150, { head: undefined, far: true }).action).toBe("write");
  });
});

describe("a raise among others", () => {
  const marked = record({ marks: { ...record().marks, block: { level: 130, round: 0, digest: "cd".repeat(32) } } });
  /** A cluster in which the master writes between each read and the first `races` writes. */
  const cluster = (races: number) => {
    let text = JSON.stringify(record());
    return {
      text: () => text,
      list: () => Promise.resolve([]),
      get: () => Promise.resolve(object(text)),
      replace: (from: WatermarkObject, next: string) => {
        if (races-- > 0) text = JSON.stringify(marked);
        if (races >= 0 || from.text !== text) return Promise.resolve("conflict" as const);
        text = next;
        return Promise.resolve("done" as const);
      },
    };
  };
  test("a mark that was written meanwhile is not lost", async () => {
    const racing = cluster(1);
    expect((await raise(racing, name, 150, { yes: true, far: false, head: 150 })).exitCode).toBe(0);
    expect(JSON.parse(racing.text())).toEqual({ ...marked, floor: 150 });
  });
  test("it gives up where somebody is always faster", async () => {
    expect(await raise(cluster(99), name, 150, { yes: true, far: false, head: 150 })).toMatchObject({
      exitCode: 1,
      text: expect.stringContaining("try again") as string,
    });
  });
});

describe("against an API server", () => {
  const api = new KubeApi();
  const folder = mkdtempSync(join(tmpdir(), "tog-watermark-"));
  const kubeconfig = join(folder, "kubeconfig");
  const put = (value: Watermark | undefined) =>
    api.apply("configmaps", "tezos", {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name, namespace: "tezos", labels: { baker: "alice" } },
      data: value ? { [watermarkDataKey]: JSON.stringify(value), other: "kept" } : {},
    });
  const stored = () => {
    const { data } = api.read("configmaps", "tezos", name) as unknown as { data: Record<string, string> };
    return { record: JSON.parse(data[watermarkDataKey] ?? "null") as Watermark, other: data.other };
  };
  const run = async (...argv: string[]) => {
    const command = await commandPath("baker");
    return new Promise<{ code: number | null; text: string }>((done) => {
      const child = spawn(process.execPath, [command, "watermark", ...argv, "--kubeconfig", kubeconfig], {
        stdio: ["ignore", "pipe", "pipe"],
      });
      let text = "";
      for (const stream of [child.stdout, child.stderr])
        stream.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      child.on("close", (code) => done({ code, text }));
    });
  };
  beforeAll(async () => {
    await api.start();
    api.addAdmin("operator");
    writeFileSync(kubeconfig, api.kubeconfig("operator", "tezos"));
  });
  afterAll(async () => {
    await api.dispose();
    rmSync(folder, { recursive: true });
  });
  beforeEach(() => void put(record()));

  test("show lists every watermark", async () => {
    const { code, text } = await run("show", "--baker", "alice");
    expect(code).toBe(0);
    expect(text).toBe(
      `${name}\n  of alice: epoch 7, holder alice-as-0_u1, floor 100\n  block 120/1, preattestation -, attestation -\n`,
    );
    expect((await run("show", "--key", key)).text).toBe(text);
    expect((await run("show", "--key", name)).text).toBe(text);
  });
  test("without --yes nothing changes; with it the floor is raised and the rest of the object kept", async () => {
    expect(await run("raise", "--key", key, "--level", "150", "--head", "150")).toMatchObject({
      code: 0,
      text: expect.stringContaining("Nothing was changed") as string,
    });
    expect(stored().record).toEqual(record());
    expect((await run("raise", "--key", key, "--level", "150", "--head", "150", "--yes")).code).toBe(0);
    expect(stored()).toEqual({ record: record({ floor: 150 }), other: "kept" });
  });
  test("exit codes: 1 refused, 2 usage", async () => {
    put(undefined);
    expect((await run("raise", "--key", key, "--level", "150", "--head", "150", "--yes")).code).toBe(1);
    expect((await run("raise", "--key", "tz1nonsense", "--level", "150")).code).toBe(2);
    for (const slip of ["", "0x10", "1e7", "3,200,011"]) {
      const { code, text } = await run("raise", "--key", key, "--level", slip);
      expect(text).toContain(`a level is written in digits alone, for instance 3200011; got "${slip}"`);
      expect(code).toBe(2);
    }
  });
});
