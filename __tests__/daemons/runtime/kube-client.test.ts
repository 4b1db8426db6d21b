/** The client against the embedded API over TLS (the common suite), and against everything that can go wrong. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Registry } from "prom-client";
import { systemClock } from "../../../daemons/runtime/clock";
import type { KubeClient, Lease, WatchEvent } from "../../../daemons/runtime/kube";
import { createKubeClient } from "../../../daemons/runtime/kube-client";
import type { RequestInfo } from "../../../lab/kube-api";
import { startKube, testNamespace, type TestKube } from "../../helpers/kube";
import { adminOf, eventually, kubeSuite, must, newLease, suiteRules } from "../../suites/kube-suite";

describe("with the embedded API over TLS", () => {
  kubeSuite(async () => {
    const kube = await startKube({ tls: true, roles: { suite: suiteRules } });
    kube.api.addAdmin("root");
    return {
      url: kube.url,
      namespace: kube.namespace,
      kubeDir: kube.kubeDir("elector-0"),
      admin: adminOf(kube.url, "root", kube.api.ca),
      stop: kube.stop,
    };
  });
});

describe("when something goes wrong", () => {
  let kube: TestKube;
  let client: KubeClient;
  let lease: Lease;
  let requests: RequestInfo[] = [];
  const stops: AbortController[] = [];
  /** Of what is answered, and of what never is. */
  const [timeoutMs, silenceMs] = [10_000, 150];

  beforeAll(async () => {
    kube = await startKube({ api: { onRequest: (request) => requests.push(request), bookmarkMs: 50 } });
  });
  afterAll(() => kube.stop());
  beforeEach(async () => {
    client = createKubeClient({
      url: kube.url,
      kubeDir: kube.kubeDir("pod-0"),
      namespace: kube.namespace,
      clock: systemClock,
    });
    lease = must(await client.create("leases", newLease("alice.leader"), { timeoutMs }));
    requests = [];
  });
  afterEach(async () => {
    for (const stop of stops.splice(0)) stop.abort();
    client.close();
    kube.api.clearFaults();
    kube.api.remove("leases", testNamespace, "alice.leader");
    await eventually("no watch is left", () => kube.api.watches === 0);
  });
  const renew = (within = timeoutMs) =>
    client.replace("leases", { ...lease, spec: { ...lease.spec, leaseTransitions: 2 } }, { timeoutMs: within });
  const stored = () => (kube.api.read("leases", testNamespace, "alice.leader")?.spec as Lease["spec"]).leaseTransitions;
  const follow = (idleMs = 5000) => {
    const events: WatchEvent<Lease>[] = [];
    const stop = new AbortController();
    stops.push(stop);
    void client.watch("leases", "alice.leader", (event) => events.push(event), { signal: stop.signal, idleMs });
    return { events, transitions: () => events.map((event) => event.object.spec.leaseTransitions) };
  };
  const change = (transitions: number) =>
    kube.api.apply("leases", testNamespace, {
      ...newLease("alice.leader", { leaseTransitions: transitions }),
    } as never);

  test("silence ends at the deadline, and the next request goes over a new connection", async () => {
    await client.get("leases", "alice.leader", { timeoutMs });
    await client.get("leases", "alice.leader", { timeoutMs });
    expect(requests[0]?.remotePort).toBe(requests[1]?.remotePort);
    const hang = kube.api.addFault({ match: { client: "pod-0" }, effect: { kind: "hang" } });
    const before = systemClock.now();
    const outcome = await client.get("leases", "alice.leader", { timeoutMs: silenceMs });
    const took = systemClock.now() - before;
    expect(outcome).toMatchObject({ ok: false, kind: "timeout", unknown: false });
    expect(took).toBeGreaterThanOrEqual(silenceMs - 2);
    hang.remove();
    must(await client.get("leases", "alice.leader", { timeoutMs }));
    expect(requests.at(-1)?.remotePort).not.toBe(requests[0]?.remotePort);
  });

  test("after one silence no idle connection is used again either", async () => {
    // None is answered before the others have come.
    const held = kube.api.addFault({ effect: { kind: "hang" } });
    const together = [1, 2, 3].map(() => client.get("leases", "alice.leader", { timeoutMs }));
    await eventually("three requests", () => requests.length === 3);
    held.remove();
    await Promise.all(together);
    const idle = new Set(requests.map((request) => request.remotePort));
    expect(idle.size).toBe(3);
    kube.api.addFault({ times: 1, effect: { kind: "hang" } });
    await client.get("leases", "alice.leader", { timeoutMs: silenceMs });
    kube.api.clearFaults();
    requests = [];
    await Promise.all([1, 2, 3].map(() => client.get("leases", "alice.leader", { timeoutMs })));
    expect(requests.filter((request) => idle.has(request.remotePort))).toEqual([]);
  });

  test.each([
    ["before", "hang", "timeout", undefined],
    ["after", "hang", "timeout", 2],
    ["before", "cut", "network", undefined],
    ["after", "cut", "network", 2],
  ] as const)(
    "a write whose answer is lost %s it took effect (%s) is unknown, and sent once",
    async (when, kind, failure, result) => {
      kube.api.addFault({ match: { verbs: ["update"] }, effect: { kind, after: when === "after" } });
      const outcome = await renew(kind === "hang" ? silenceMs : timeoutMs);
      expect(outcome).toMatchObject({ ok: false, kind: failure, unknown: true });
      expect(stored()).toBe(result ?? 1);
      expect(requests.filter((request) => request.verb === "update")).toHaveLength(1);
    },
  );

  describe("a write in doubt", () => {
    const write = (timeouts: { timeoutMs: number; doubtMs: number }) =>
      client.replace("leases", { ...lease, spec: { ...lease.spec, leaseTransitions: 2 } }, timeouts);
    const verbs = () => requests.map(({ verb }) => verb);

    test("ends as soon as a later read is answered: it was lost on its way", async () => {
      must(await client.get("leases", "alice.leader", { timeoutMs }));
      kube.api.addFault({ match: { verbs: ["update"] }, effect: { kind: "hang" } });
      const outcome = await write({ timeoutMs: 600_000, doubtMs: 50 });
      expect(outcome).toMatchObject({ ok: false, kind: "timeout", unknown: true });
      expect(verbs()).toEqual(["get", "update", "get"]);
      const [kept, , beside] = requests.map(({ remotePort }) => remotePort);
      expect(beside).not.toBe(kept);
    });

    test("is asked about until a read is answered", async () => {
      kube.api.addFault({ match: { verbs: ["update"] }, effect: { kind: "hang" } });
      kube.api.addFault({ match: { verbs: ["get"] }, times: 3, effect: { kind: "status", code: 503 } });
      expect(await write({ timeoutMs: 600_000, doubtMs: 20 })).toMatchObject({ kind: "timeout", unknown: true });
      expect(verbs()).toEqual(["update", "get", "get", "get", "get"]);
    });

    test("is waited for where the API is slow for all", async () => {
      kube.api.addFault({ effect: { kind: "latency", ms: 400 } });
      must(await write({ timeoutMs: 60_000, doubtMs: 100 }));
      expect(verbs()).toEqual(["update", "get"]);
    });

    test("is waited for where the read leaves no time for another read and write", async () => {
      kube.api.addFault({ match: { verbs: ["update"] }, effect: { kind: "latency", ms: 2600 } });
      kube.api.addFault({ match: { verbs: ["get"] }, effect: { kind: "latency", ms: 1800 } });
      must(await write({ timeoutMs: 5200, doubtMs: 10 }));
    });
  });

  test.each([
    [429, "too-many-requests", false],
    [500, "server", true],
    [503, "server", true],
    [504, "server", true],
    [401, "unauthorized", false],
    [409, "conflict", false],
  ] as const)("HTTP %i to a write is %s", async (code, kind, unknown) => {
    kube.api.addFault({ match: { verbs: ["update"] }, effect: { kind: "status", code } });
    const outcome = await renew();
    expect(outcome).toMatchObject({ ok: false, kind, unknown, status: code });
    if (code === 429) expect(outcome).toMatchObject({ retryAfterMs: 1000 });
  });

  test.each([
    [200, "malformed"],
    [404, "malformed"],
    [409, "malformed"],
    [502, "server"],
  ] as const)("a proxy's page with status %i is %s, never a missing object or a conflict", async (code, kind) => {
    kube.api.addFault({ effect: { kind: "html", code } });
    expect(await client.get("leases", "alice.leader", { timeoutMs })).toMatchObject({
      ok: false,
      kind,
      unknown: false,
    });
    expect(await renew()).toMatchObject({ ok: false, kind, unknown: true });
  });

  test("a refused connection is known not to have written", async () => {
    const nobody = createKubeClient({
      url: "http://127.0.0.1:1",
      kubeDir: kube.kubeDir("pod-0"),
      namespace: kube.namespace,
      clock: systemClock,
    });
    expect(await nobody.replace("leases", lease, { timeoutMs })).toMatchObject({
      ok: false,
      kind: "network",
      unknown: false,
    });
    nobody.close();
  });

  test("an abort ends a request at once", async () => {
    kube.api.addFault({ effect: { kind: "hang" } });
    const stop = new AbortController();
    const pending = client.get("leases", "alice.leader", { timeoutMs: 60_000, signal: stop.signal });
    setTimeout(() => stop.abort(), 20);
    expect(await pending).toMatchObject({ kind: "aborted" });
    const already = await client.get("leases", "alice.leader", { timeoutMs, signal: AbortSignal.abort() });
    expect(already).toMatchObject({ kind: "aborted", unknown: false });
  });

  test("an answer that is processed after the deadline, as after a pause of the process, is a timeout", async () => {
    let jumpMs = 0;
    const clock = { ...systemClock, now: () => systemClock.now() + jumpMs };
    const paused = createKubeClient({
      url: kube.url,
      kubeDir: kube.kubeDir("pod-0"),
      namespace: kube.namespace,
      clock,
    });
    kube.api.addFault({ effect: { kind: "latency", ms: 50 } });
    const pending = paused.get("leases", "alice.leader", { timeoutMs });
    jumpMs = 30_000;
    expect(await pending).toMatchObject({ ok: false, kind: "timeout" });
    paused.close();
  });

  test("a request names when it was sent, not when it was answered", async () => {
    kube.api.addFault({ effect: { kind: "latency", ms: 100 } });
    const { sentAtMs } = await client.get("leases", "alice.leader", { timeoutMs });
    expect(systemClock.now() - sentAtMs).toBeGreaterThanOrEqual(98);
  });

  test("an unreadable folder is a failure of the request, not of the process", async () => {
    const blind = createKubeClient({
      url: kube.url,
      kubeDir: "/nonexistent",
      namespace: kube.namespace,
      clock: systemClock,
    });
    expect(await blind.get("leases", "alice.leader", { timeoutMs })).toMatchObject({
      ok: false,
      kind: "network",
      unknown: false,
    });
    blind.close();
  });

  test("outcomes are counted", async () => {
    const metrics = new Registry();
    const counting = createKubeClient({
      url: kube.url,
      kubeDir: kube.kubeDir("pod-0"),
      namespace: kube.namespace,
      clock: systemClock,
      metrics,
    });
    await counting.get("leases", "alice.leader", { timeoutMs });
    await counting.get("leases", "bob.leader", { timeoutMs });
    const text = await metrics.metrics();
    expect(text).toContain('tog_kube_requests_total{verb="get",resource="leases",outcome="ok"} 1');
    expect(text).toContain('tog_kube_requests_total{verb="get",resource="leases",outcome="not-found"} 1');
    counting.close();
  });

  describe("a watch", () => {
    test("that is cut resumes where it was, without a list", async () => {
      const { events, transitions } = follow();
      await eventually("the first state", () => events.length === 1 && kube.api.watches === 1);
      const cut = kube.api.addFault({ match: { verbs: ["watch"] }, effect: { kind: "cut" } });
      change(2);
      change(3);
      cut.remove();
      await eventually("both changes", () => transitions().at(-1) === 3);
      expect(transitions()).toEqual([1, 2, 3]);
      expect(requests.filter((request) => request.verb === "list")).toHaveLength(1);
    });

    test("whose version is too old begins anew", async () => {
      const { events, transitions } = follow();
      await eventually("the first state", () => events.length === 1 && kube.api.watches === 1);
      const cut = kube.api.addFault({ match: { verbs: ["watch"] }, effect: { kind: "cut" } });
      change(2);
      change(3);
      kube.api.compact();
      cut.remove();
      await eventually("the newest state", () => transitions().at(-1) === 3);
      expect(transitions()).toEqual([1, 3]);
      expect(requests.filter((request) => request.verb === "list")).toHaveLength(2);
      change(4);
      await eventually("what follows", () => transitions().at(-1) === 4);
    });

    test("that is answered HTTP 410 begins anew", async () => {
      kube.api.addFault({ match: { verbs: ["watch"] }, times: 1, effect: { kind: "status", code: 410 } });
      const { transitions } = follow();
      await eventually("two lists and a watch", () => kube.api.watches === 1);
      change(2);
      await eventually("the change", () => transitions().at(-1) === 2);
    });

    test("that falls silent begins anew after its idle time", async () => {
      const quiet = await startKube({ api: { bookmarkMs: 1_000_000, onRequest: (request) => requests.push(request) } });
      const other = createKubeClient({
        url: quiet.url,
        kubeDir: quiet.kubeDir("pod-0"),
        namespace: quiet.namespace,
        clock: systemClock,
      });
      quiet.api.apply("leases", testNamespace, newLease("alice.leader") as never);
      const events: WatchEvent<Lease>[] = [];
      const stop = new AbortController();
      const done = other.watch("leases", "alice.leader", (event) => events.push(event), {
        signal: stop.signal,
        idleMs: 200,
      });
      await eventually("the first state", () => events.length === 1 && quiet.api.watches === 1);
      quiet.api.addFault({ match: { verbs: ["watch"] }, effect: { kind: "hang" } });
      quiet.api.apply("leases", testNamespace, newLease("alice.leader", { leaseTransitions: 2 }) as never);
      await eventually("the change, through the list", () => events.at(-1)?.object.spec.leaseTransitions === 2, 1000);
      stop.abort();
      await done;
      other.close();
      await quiet.stop();
    });

    test("tells once that the object has gone while nobody watched", async () => {
      const { events } = follow();
      await eventually("the first state", () => events.length === 1 && kube.api.watches === 1);
      const cut = kube.api.addFault({ match: { verbs: ["watch"] }, effect: { kind: "cut" } });
      kube.api.remove("leases", testNamespace, "alice.leader");
      kube.api.compact();
      cut.remove();
      await eventually("deletion", () => events.at(-1)?.type === "DELETED");
      change(7);
      await eventually("creation", () => events.at(-1)?.object.spec.leaseTransitions === 7);
      expect(events.map((event) => event.type)).toEqual(["MODIFIED", "DELETED", "ADDED"]);
    });

    test("survives a restart of the API", async () => {
      const api = await startKube();
      const other = createKubeClient({
        url: api.url,
        kubeDir: api.kubeDir("pod-0"),
        namespace: api.namespace,
        clock: systemClock,
      });
      api.api.apply("leases", testNamespace, newLease("alice.leader") as never);
      const seen: (number | undefined)[] = [];
      const stop = new AbortController();
      const done = other.watch("leases", "alice.leader", (event) => seen.push(event.object.spec.leaseTransitions), {
        signal: stop.signal,
      });
      await eventually("the first state", () => seen.length === 1 && api.api.watches === 1);
      const port = Number(new URL(api.url).port);
      await api.api.stop();
      await new Promise((resolve) => setTimeout(resolve, 50));
      api.api.apply("leases", testNamespace, newLease("alice.leader", { leaseTransitions: 2 }) as never);
      await api.api.start({ port, tls: false });
      await eventually("the change", () => seen.at(-1) === 2);
      stop.abort();
      await done;
      other.close();
      await api.stop();
    });
  });
});

describe("with a server that is no API", () => {
  let server: Server;
  let answer: (response: ServerResponse, served: number, method: string) => void;
  let served: string[];
  let connections: number;
  const folder = mkdtempSync(join(tmpdir(), "tog-kube-client-"));
  let client: KubeClient;
  const lease = { ...newLease("a"), metadata: { name: "a", namespace: "ns", uid: "u", resourceVersion: "1" } };

  beforeEach(async () => {
    writeFileSync(join(folder, "token"), "t");
    served = [];
    connections = 0;
    server = createServer((request, response) => {
      served.push(request.method ?? "");
      request.resume();
      answer(response, served.length, request.method ?? "");
    });
    server.on("connection", () => connections++);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    client = createKubeClient({
      url: `http://127.0.0.1:${port}`,
      kubeDir: folder,
      namespace: "ns",
      clock: systemClock,
      maxBodyBytes: 100_000,
    });
  });
  afterEach(async () => {
    client.close();
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test("a body that never ends is cut off", async () => {
    answer = (response) => {
      const timer = setInterval(() => response.write("x".repeat(50_000)), 1);
      response.on("close", () => clearInterval(timer));
    };
    expect(await client.get("leases", "a", { timeoutMs: 2000 })).toMatchObject({
      kind: "malformed",
      message: expect.stringContaining("100000"),
    });
  });

  test("a body that drips does not stretch the deadline", async () => {
    answer = (response) => {
      const timer = setInterval(() => response.write(" "), 10);
      response.on("close", () => clearInterval(timer));
    };
    expect(await client.get("leases", "a", { timeoutMs: 150 })).toMatchObject({ kind: "timeout" });
  });

  test.each([
    ["another name", { ...lease, metadata: { ...lease.metadata, name: "b" } }],
    ["another namespace", { ...lease, metadata: { ...lease.metadata, namespace: "other" } }],
    ["no uid", { ...lease, metadata: { ...lease.metadata, uid: undefined } }],
    ["no version", { ...lease, metadata: { ...lease.metadata, resourceVersion: "" } }],
    ["another kind", { ...lease, kind: "ConfigMap" }],
    ["numbers as texts", { ...lease, spec: { leaseTransitions: "7" } }],
    ["a list", [lease]],
    ["null", null],
  ])("an object with %s is malformed", async (_what, object) => {
    answer = (response) => response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(object));
    expect(await client.get("leases", "a", { timeoutMs: 1000 })).toMatchObject({ ok: false, kind: "malformed" });
  });

  test("a PUT that created another object is not taken for a renewal", async () => {
    answer = (response) =>
      response
        .writeHead(201)
        .end(JSON.stringify({ ...lease, metadata: { ...lease.metadata, uid: "v", resourceVersion: "9" } }));
    expect(await client.replace("leases", lease, { timeoutMs: 1000 })).toMatchObject({
      ok: false,
      kind: "conflict",
      unknown: true,
    });
  });

  test("an idle connection that the server closes: a read is asked again at once, a write is not", async () => {
    answer = (response, count) => {
      if (count === 1 || count === 3) response.writeHead(200).end(JSON.stringify(lease));
      else response.socket?.destroy();
    };
    must(await client.get("leases", "a", { timeoutMs: 1000 }));
    must(await client.get("leases", "a", { timeoutMs: 1000 }));
    expect(served).toEqual(["GET", "GET", "GET"]);
    expect(connections).toBe(2);
    expect(await client.replace("leases", lease, { timeoutMs: 1000 })).toMatchObject({
      kind: "network",
      unknown: true,
    });
    expect(served).toEqual(["GET", "GET", "GET", "PUT"]);
  });

  test("a watch line without end is cut off, and the watch begins anew", async () => {
    answer = (response, count) => {
      response.writeHead(200);
      if (count % 2 === 1) {
        const item = { ...lease, kind: undefined, apiVersion: undefined };
        response.end(JSON.stringify({ kind: "LeaseList", metadata: { resourceVersion: "5" }, items: [item] }));
      } else response.write("x".repeat(200_000));
    };
    const stop = new AbortController();
    let events = 0;
    const done = client.watch("leases", "a", () => events++, { signal: stop.signal });
    await eventually("a second list", () => events === 2);
    stop.abort();
    await done;
  });
});

describe("with TLS", () => {
  test("a server that the mounted authority did not certify never sees the token", async () => {
    const requests: unknown[] = [];
    const right = await startKube({ tls: true });
    const wrong = await startKube({ tls: true, api: { onRequest: (request) => requests.push(request) } });
    const client = createKubeClient({
      url: wrong.url,
      kubeDir: right.kubeDir("pod-0"),
      namespace: "ns",
      clock: systemClock,
    });
    const outcome = await client.replace(
      "leases",
      { ...newLease("a"), metadata: { name: "a", uid: "u", resourceVersion: "1" } },
      { timeoutMs: 2000 },
    );
    expect(outcome).toMatchObject({ ok: false, kind: "network", unknown: false });
    expect(requests).toEqual([]);
    client.close();
    await Promise.all([right.stop(), wrong.stop()]);
  });

  test("a new authority in the folder is used at once after a failure", async () => {
    const kube = await startKube({ tls: true });
    const folder = kube.kubeDir("pod-0");
    writeFileSync(join(folder, "ca.crt"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    const client = createKubeClient({ url: kube.url, kubeDir: folder, namespace: kube.namespace, clock: systemClock });
    expect(await client.get("leases", "a", { timeoutMs: 2000 })).toMatchObject({ kind: "network" });
    kube.api.writeKubeDir(folder, "token-of-pod-0", kube.namespace);
    expect(await client.get("leases", "a", { timeoutMs: 2000 })).toMatchObject({ kind: "not-found" });
    client.close();
    await kube.stop();
  });
});
