/** Which cluster a command is about: what its options say, else the configuration in whose folder it stands. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { completePlace } from "../../cockpit/place";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tog-place-"));
  writeFileSync(join(folder, "cdktf.json"), "{}");
});
afterEach(() => rmSync(folder, { recursive: true }));
const configuration = (text: string) =>
  writeFileSync(
    join(folder, "terraform.tfvars"),
    `namespace = "bakers"\nnetwork = "shadownet"\nbakers = { alice = { delegate = "tz1Qi1VXJsKxxbB98TbZHcp2K6USAcTRYjD5", hot_test_key = true } }\n${text}`,
  );

test("without a configuration it is the kubeconfig's context and the namespace tezos", async () => {
  expect(await completePlace({}, folder, undefined)).toEqual({ namespace: "tezos" });
  expect(await completePlace({}, undefined, undefined)).toEqual({ namespace: "tezos" });
});

test("a configuration of a cluster of ours gives the context that gcloud makes", async () => {
  configuration('project = "my-baker-1234"\nname = "prod"\nregion = "us-central1"\n');
  expect(await completePlace({}, folder, undefined)).toEqual({
    context: "gke_my-baker-1234_us-central1_prod",
    namespace: "bakers",
    kubeconfig: undefined,
  });
  expect(await completePlace({ namespace: "other" }, folder, undefined)).toMatchObject({ namespace: "other" });
});

test("an existing cluster gives context and kubeconfig; KUBECONFIG and options go before", async () => {
  configuration('cluster = { existing = { context = "home", kubeconfig = "/etc/kube" } }\nzones = ["a", "b"]\n');
  expect(await completePlace({}, folder, undefined)).toEqual({
    ...{ context: "home", namespace: "bakers", kubeconfig: "/etc/kube" },
  });
  expect(await completePlace({}, folder, "/other")).toMatchObject({ kubeconfig: undefined });
  expect(await completePlace({ kubeconfig: "mine" }, folder, "/other")).toMatchObject({ kubeconfig: "mine" });
});

test("of another cluster the configuration says nothing", async () => {
  configuration('project = "my-baker-1234"\nregion = "us-central1"\n');
  expect(await completePlace({ context: "laboratory" }, folder, undefined)).toEqual({
    ...{ context: "laboratory", namespace: "tezos" },
  });
});

test("one with errors is not guessed at, and is not needed where both are given", async () => {
  configuration("nonsense = 1\n");
  await expect(completePlace({}, folder, undefined)).rejects.toThrow("give both, or mend it");
  expect(await completePlace({ context: "c", namespace: "n" }, folder, undefined)).toEqual({
    ...{ context: "c", namespace: "n" },
  });
});
