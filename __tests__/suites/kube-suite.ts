/**
 * What our client and a Kubernetes API must do together; run against the embedded API and against a real API server.
 */
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import * as http from "node:http";
import * as https from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../daemons/runtime/clock";
import {
  microTime,
  type ConfigMap,
  type KubeClient,
  type Lease,
  type Outcome,
  type WatchEvent,
} from "../../daemons/runtime/kube";
import { createKubeClient } from "../../daemons/runtime/kube-client";

/** Requests by a token that may do everything. `ca` in PEM where the URL is https. */
export const adminOf =
  (url: string, token: string, ca?: string): KubeSubject["admin"] =>
  (method, path, body) =>
    new Promise((resolve, reject) => {
      const text = body === undefined ? "" : JSON.stringify(body);
      const headers = {
        authorization: `Bearer ${token}`,
        "content-type": "application/json",
        "content-length": Buffer.byteLength(text),
      };
      const request = (url.startsWith("https") ? https : http).request(
        url + path,
        { method, headers, ca, agent: false },
        (response) => {
          let answer = "";
          response.on("data", (chunk: Buffer) => (answer += chunk.toString()));
          response.on("end", () => resolve(JSON.parse(answer) as Record<string, unknown>));
        },
      );
      request.on("error", reject);
      request.end(text);
    });

export interface KubeSubject {
  url: string;
  namespace: string;
  /** Of a user with the rules of {@link suiteRules}. */
  kubeDir: string;
  /** A request of somebody who may do everything; resolves with the parsed answer. */
  admin(method: string, path: string, body?: unknown): Promise<Record<string, unknown>>;
  stop(): Promise<void>;
}

/** The Role of the suite's client. */
export const suiteRules = [
  { apiGroups: ["coordination.k8s.io"], resources: ["leases"], verbs: ["create"] },
  {
    apiGroups: ["coordination.k8s.io"],
    resources: ["leases"],
    verbs: ["get", "list", "watch", "update"],
    resourceNames: ["alice.leader", "alice.member-0"],
  },
  { apiGroups: [""], resources: ["configmaps"], verbs: ["get", "list", "watch", "update"], resourceNames: ["wm-aa"] },
  { apiGroups: [""], resources: ["pods"], verbs: ["get"], resourceNames: ["alice-solo-0"] },
  { apiGroups: [""], resources: ["events"], verbs: ["create"] },
];

export const newLease = (name: string, changes: Lease["spec"] = {}): Lease => ({
  apiVersion: "coordination.k8s.io/v1",
  kind: "Lease",
  metadata: { name },
  spec: {
    holderIdentity: "alice-as-0_u0",
    leaseDurationSeconds: 6,
    acquireTime: microTime(1_795_000_000_123),
    renewTime: microTime(1_795_000_000_123),
    leaseTransitions: 1,
    ...changes,
  },
});
const options = { timeoutMs: 5000 };

export function must<T>(outcome: Outcome<T>): T {
  if (!outcome.ok) throw new Error(`${outcome.kind} ${outcome.status}: ${outcome.message}`);
  return outcome.object;
}
export async function eventually(what: string, check: () => boolean, ms = 60_000): Promise<void> {
  const end = systemClock.now() + ms;
  while (!check()) {
    if (systemClock.now() > end) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export function kubeSuite(start: () => Promise<KubeSubject>): void {
  let subject: KubeSubject;
  let client: KubeClient;
  const stops: AbortController[] = [];
  const leases = () => `/apis/coordination.k8s.io/v1/namespaces/${subject.namespace}/leases`;
  const configMaps = () => `/api/v1/namespaces/${subject.namespace}/configmaps`;
  const connect = (kubeDir = subject.kubeDir) =>
    createKubeClient({
      url: subject.url,
      kubeDir,
      namespace: subject.namespace,
      clock: systemClock,
      component: "elector",
    });

  beforeAll(async () => {
    subject = await start();
    client = connect();
  });
  afterAll(async () => {
    client.close();
    await subject.stop();
  });
  afterEach(async () => {
    for (const stop of stops.splice(0)) stop.abort();
    for (const name of ["alice.leader", "alice.member-0"]) await subject.admin("DELETE", `${leases()}/${name}`);
    await subject.admin("DELETE", `${configMaps()}/wm-aa`);
  });
  const follow = (name: string) => {
    const events: WatchEvent<Lease>[] = [];
    const stop = new AbortController();
    stops.push(stop);
    const done = client.watch("leases", name, (event) => events.push(event), { signal: stop.signal, idleMs: 5000 });
    return { events, stop, done };
  };
  const watermark = async (value: string): Promise<ConfigMap> =>
    (await subject.admin("POST", configMaps(), {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "wm-aa" },
      data: { watermark: value },
    })) as unknown as ConfigMap;

  test("a created lease comes back whole, with its uid, its version and exact times", async () => {
    const created = must(await client.create("leases", newLease("alice.leader"), options));
    expect(created.spec).toEqual(newLease("alice.leader").spec);
    expect(created.metadata.uid).toMatch(/^[0-9a-f-]{36}$/);
    expect(must(await client.get("leases", "alice.leader", options))).toEqual(created);
    expect(created.metadata).not.toHaveProperty("managedFields");
  });

  test("a missing object is not-found, and only that", async () => {
    expect(await client.get("leases", "alice.leader", options)).toMatchObject({
      ok: false,
      kind: "not-found",
      status: 404,
      unknown: false,
    });
  });

  test("a second creation is already-exists, a stale write is conflict, and neither is unknown", async () => {
    const first = must(await client.create("leases", newLease("alice.leader"), options));
    expect(await client.create("leases", newLease("alice.leader"), options)).toMatchObject({
      kind: "already-exists",
      unknown: false,
    });
    const second = must(
      await client.replace("leases", { ...first, spec: { ...first.spec, leaseTransitions: 2 } }, options),
    );
    expect(second.metadata.resourceVersion).not.toBe(first.metadata.resourceVersion);
    expect(
      await client.replace("leases", { ...first, spec: { ...first.spec, leaseTransitions: 3 } }, options),
    ).toMatchObject({
      ok: false,
      kind: "conflict",
      unknown: false,
    });
    expect(must(await client.get("leases", "alice.leader", options)).spec.leaseTransitions).toBe(2);
  });

  test("a lease that was deleted is not created by a renewal", async () => {
    const lease = must(await client.create("leases", newLease("alice.leader"), options));
    await subject.admin("DELETE", `${leases()}/alice.leader`);
    expect(await client.replace("leases", lease, options)).toMatchObject({ ok: false, kind: "conflict" });
    expect(await client.get("leases", "alice.leader", options)).toMatchObject({ kind: "not-found" });
  });

  test("a lease that was deleted and created again refuses the old uid", async () => {
    const lease = must(await client.create("leases", newLease("alice.leader"), options));
    await subject.admin("DELETE", `${leases()}/alice.leader`);
    const again = must(await client.create("leases", newLease("alice.leader", { holderIdentity: "other" }), options));
    expect(
      await client.replace("leases", { ...lease, metadata: { ...again.metadata, uid: lease.metadata.uid } }, options),
    ).toMatchObject({
      ok: false,
      kind: "conflict",
    });
    expect(must(await client.get("leases", "alice.leader", options)).spec.holderIdentity).toBe("other");
  });

  test("a write without uid or without version is never sent", async () => {
    const lease = must(await client.create("leases", newLease("alice.leader"), options));
    for (const field of ["uid", "resourceVersion"] as const) {
      const incomplete = { ...lease, metadata: { ...lease.metadata, [field]: "" } };
      await expect(client.replace("leases", incomplete, options)).rejects.toThrow(`needs metadata.${field}`);
    }
    expect(must(await client.get("leases", "alice.leader", options))).toEqual(lease);
  });

  test("of many writers with the same version exactly one wins each round", async () => {
    let current = must(await client.create("leases", newLease("alice.leader"), options));
    for (let round = 0; round < 5; round++) {
      const from = current;
      const outcomes = await Promise.all(
        Array.from({ length: 10 }, (_, i) =>
          client.replace(
            "leases",
            { ...from, spec: { ...from.spec, holderIdentity: `writer-${round}-${i}` } },
            options,
          ),
        ),
      );
      expect(outcomes.map((outcome) => (outcome.ok ? "ok" : outcome.kind)).sort()).toEqual([
        ...Array<string>(9).fill("conflict"),
        "ok",
      ]);
      const winner = outcomes.find((outcome) => outcome.ok);
      current = must(await client.get("leases", "alice.leader", options));
      expect(winner?.ok && winner.object).toEqual(current);
    }
  });

  test("a time with milliseconds only is invalid", async () => {
    const wrong = newLease("alice.leader", { renewTime: new Date(0).toISOString() });
    expect(await client.create("leases", wrong, options)).toMatchObject({
      ok: false,
      kind: "invalid",
      status: 400,
      unknown: false,
    });
  });

  test("a config map changes under its version only", async () => {
    await watermark("one");
    const map = must(await client.get("configmaps", "wm-aa", options));
    const next = must(await client.replace("configmaps", { ...map, data: { watermark: "two" } }, options));
    expect(next.data).toEqual({ watermark: "two" });
    expect(await client.replace("configmaps", { ...map, data: { watermark: "three" } }, options)).toMatchObject({
      kind: "conflict",
    });
    await subject.admin("DELETE", `${configMaps()}/wm-aa`);
    expect(await client.replace("configmaps", next, options)).toMatchObject({
      ok: false,
      kind: "not-found",
      unknown: false,
    });
    const again = await watermark("restored");
    const mixed = { ...next, metadata: { ...next.metadata, resourceVersion: again.metadata.resourceVersion } };
    expect(await client.replace("configmaps", mixed, options)).toMatchObject({ ok: false, kind: "conflict" });
  });

  test("what the Role does not name is forbidden", async () => {
    expect(await client.get("leases", "bob.leader", options)).toMatchObject({
      kind: "forbidden",
      status: 403,
      unknown: false,
    });
    expect(await client.get("configmaps", "wm-bb", options)).toMatchObject({ kind: "forbidden" });
    const map: ConfigMap = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "wm-aa" }, data: {} };
    expect(await client.create("configmaps", map, options)).toMatchObject({ kind: "forbidden", unknown: false });
    expect(await client.get("pods", "alice-solo-0", options)).toMatchObject({ kind: "not-found" });
    expect(await client.get("pods", "alice-as-0", options)).toMatchObject({ kind: "forbidden" });
  });

  test("a wrong token is unauthorized, and the next request reads the token anew", async () => {
    const folder = mkdtempSync(join(tmpdir(), "tog-kube-suite-"));
    mkdirSync(folder, { recursive: true });
    if (existsSync(join(subject.kubeDir, "ca.crt")))
      copyFileSync(join(subject.kubeDir, "ca.crt"), join(folder, "ca.crt"));
    writeFileSync(join(folder, "token"), "expired");
    const rotating = connect(folder);
    expect(await rotating.get("leases", "alice.leader", options)).toMatchObject({ kind: "unauthorized", status: 401 });
    copyFileSync(join(subject.kubeDir, "token"), join(folder, "token"));
    expect(await rotating.get("leases", "alice.leader", options)).toMatchObject({ kind: "not-found" });
    rotating.close();
    rmSync(folder, { recursive: true });
  });

  test("a watch tells what is there, each change, the deletion and the next creation", async () => {
    let lease = must(await client.create("leases", newLease("alice.leader"), options));
    const { events, stop, done } = follow("alice.leader");
    await eventually("the lease as it is", () => events.length === 1);
    await subject.admin("POST", leases(), newLease("alice.member-0"));
    for (let i = 2; i < 7; i++)
      lease = must(await client.replace("leases", { ...lease, spec: { ...lease.spec, leaseTransitions: i } }, options));
    await subject.admin("DELETE", `${leases()}/alice.leader`);
    await eventually("deletion", () => events.at(-1)?.type === "DELETED");
    const again = must(await client.create("leases", newLease("alice.leader"), options));
    await eventually("creation", () => events.at(-1)?.type === "ADDED");
    expect(events.map((event) => event.type)).toEqual([
      "MODIFIED",
      ...Array<string>(5).fill("MODIFIED"),
      "DELETED",
      "ADDED",
    ]);
    expect(events.slice(0, 6).map((event) => event.object.spec.leaseTransitions)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(events.at(-1)?.object).toEqual(again);
    stop.abort();
    await done;
  });

  test("a watch of a name that does not exist yet tells its creation", async () => {
    const { events } = follow("alice.leader");
    await new Promise((resolve) => setTimeout(resolve, 100));
    must(await client.create("leases", newLease("alice.leader"), options));
    await eventually("creation", () => events.length === 1);
    expect(events[0]?.object.metadata.name).toBe("alice.leader");
  });

  test("an event about a lease can be read by people", async () => {
    await client.emitEvent({
      type: "Normal",
      reason: "Acquired",
      message: "alice-as-1 took over",
      regarding: { kind: "Lease", name: "alice.leader", apiVersion: "coordination.k8s.io/v1" },
    });
    const list = await subject.admin(
      "GET",
      `/api/v1/namespaces/${subject.namespace}/events?fieldSelector=reason%3DAcquired`,
    );
    expect(list.items).toMatchObject([
      { message: "alice-as-1 took over", type: "Normal", involvedObject: { name: "alice.leader" } },
    ]);
  });
}
