/** The embedded API as a subject of the election suite. */
import { adminOf } from "../suites/kube-suite";
import type { ElectionSubject } from "./election";
import { startKube } from "./kube";
import { readFileSync } from "node:fs";
import { join } from "node:path";

export async function embeddedSubject(): Promise<ElectionSubject> {
  const kube = await startKube();
  kube.kubeDir("admin", "admin");
  return {
    url: kube.url,
    namespace: kube.namespace,
    token: (client) => readFileSync(join(kube.kubeDir(client), "token"), "utf8"),
    admin: adminOf(kube.url, "token-of-admin"),
    stop: () => kube.stop(),
  };
}
