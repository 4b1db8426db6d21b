/**
 * The embedded API answers what a real API server 1.36 answered. The recordings hold answers only; the requests that
 * led to them are written here. Not compared: managedFields (not kept), headers other than Content-Type and Warning,
 * the server's own identifiers and times.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { KubeApi } from "../../../lab/kube-api";

const folder = join(__dirname, "../../fixtures/wire/kube-1.36");
type Json = Record<string, unknown>;

interface Recording {
  status: number | undefined;
  headers: Record<string, string>;
  body: string;
}
function recording(name: string): Recording {
  const text = readFileSync(join(folder, name), "utf8").replaceAll("\r\n", "\n");
  if (!text.startsWith("HTTP/")) return { status: undefined, headers: {}, body: text };
  const [head = "", ...rest] = text.split("\n\n");
  const [first = "", ...lines] = head.split("\n");
  const headers = Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 2)]),
  );
  return { status: Number(first.split(" ")[1]), headers, body: rest.join("\n\n") };
}

const leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
const times = { acquireTime: "2026-11-22T21:46:23.123456Z", renewTime: "2026-11-22T21:46:23.123456Z" };
const later = { acquireTime: "2026-11-22T21:46:25.123456Z", renewTime: "2026-11-22T21:46:25.123456Z" };
const spec = { holderIdentity: "a", leaseDurationSeconds: 15, ...times, leaseTransitions: 0 };
const lease = (name: string, changes: Json = {}, meta: Json = {}) => ({
  apiVersion: "coordination.k8s.io/v1",
  kind: "Lease",
  metadata: { name, namespace: "default", ...meta },
  spec: { ...spec, ...changes },
});

interface Exchange {
  file: string;
  method?: string;
  path: string;
  body?: unknown;
  type?: string;
  token?: string | null;
  /** What happens before this request without being recorded. */
  before?: () => Promise<unknown> | void;
}

let api: KubeApi;
let url: string;
let base: number;

async function call(exchange: Omit<Exchange, "file">): Promise<{ status: number; headers: Headers; body: string }> {
  const token = exchange.token === undefined ? "admin" : exchange.token;
  const response = await fetch(url + exchange.path, {
    method: exchange.method ?? "GET",
    headers: {
      ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      ...(exchange.body === undefined ? {} : { "content-type": exchange.type ?? "application/json" }),
    },
    ...(exchange.body === undefined ? {} : { body: JSON.stringify(exchange.body) }),
  });
  return { status: response.status, headers: response.headers, body: await response.text() };
}
const stored = (name: string) => api.read("leases", "default", name)?.metadata;
const patch = (name: string, changes: Json, meta?: Json): Omit<Exchange, "file"> => ({
  method: "PATCH",
  path: `${leases}/${name}`,
  body: { ...(meta ? { metadata: meta } : {}), spec: changes },
  type: "application/merge-patch+json",
});
const put = (name: string, body: unknown, query = ""): Omit<Exchange, "file"> => ({
  method: "PUT",
  path: `${leases}/${name}${query}`,
  body,
});
const versionOf = (name: string) => ({ resourceVersion: stored(name)?.resourceVersion });
const oldUid = "c371832a-781d-477f-a736-b6a014b10cf2";
const asTheyWere = { holderIdentity: "x30", leaseDurationSeconds: 15, leaseTransitions: 1 };
const la = { ...asTheyWere, acquireTime: "2026-11-22T21:59:45.270366Z", renewTime: "2026-11-22T21:59:45.276824Z" };

/** Every recorded exchange in the order in which they happened; thunks see the objects as they are then. */
const exchanges: ({ file: string } & (() => Omit<Exchange, "file">))[] = [];
const exchange = (file: string, make: () => Omit<Exchange, "file">) =>
  exchanges.push(Object.assign(() => make(), { file }));

exchange("01-get-404.txt", () => ({ path: `${leases}/w` }));
exchange("02-post-201.txt", () => ({ method: "POST", path: leases, body: lease("w") }));
exchange("03-post-409-exists.txt", () => ({ method: "POST", path: leases, body: lease("w") }));
exchange("04-get-200.txt", () => ({ path: `${leases}/w` }));
exchange("05-put-200.txt", () => put("w", lease("w", later, versionOf("w"))));
exchange("06-put-409-conflict.txt", () => put("w", lease("w", {}, { resourceVersion: String(base) })));
exchange("07-put-no-rv-unconditional.txt", () => put("w", lease("w")));
exchange("08-put-409-uid.txt", () =>
  put("w", lease("w", later, { ...versionOf("w"), uid: "00000000-0000-0000-0000-000000000000" })),
);
exchange("09-put-404-missing.txt", () =>
  put("zz", lease("zz", { holderIdentity: "b" }, { resourceVersion: String(base) })),
);
exchange("09b-put-400-name-mismatch.txt", () => put("zz", lease("w", {}, versionOf("w"))));
exchange("11-put-400-badtime.txt", () => put("w", lease("w", { renewTime: "yesterday" }, versionOf("w"))));
exchange("11b-put-micro-time-no-fraction.txt", () =>
  put("w", lease("w", { renewTime: "2026-11-22T21:46:23Z" }, versionOf("w"))),
);
exchange("11c-put-millis.txt", () => put("w", lease("w", { renewTime: "2026-11-22T21:46:23.123Z" }, versionOf("w"))));
exchange("11e-put-unknown-field-strict.txt", () =>
  put("w", lease("w", { ...later, bogus: 1 }, versionOf("w")), "?fieldValidation=Strict"),
);
exchange("12-patch-merge-200.txt", () => patch("w", { holderIdentity: "p" }));
exchange("13-patch-merge-rv-409.txt", () => patch("w", { holderIdentity: "q" }, { resourceVersion: String(base) }));
exchange("14-patch-jsonpatch-test-422.txt", () => ({
  ...patch("w", {}),
  type: "application/json-patch+json",
  body: [{ op: "test", path: "/spec/holderIdentity", value: "nobody" }],
}));
exchange("15-patch-415.txt", () => ({ ...patch("w", {}), type: "application/json" }));
exchange("17-list-200.txt", () => ({ path: leases }));
exchange("18-list-fieldselector.txt", () => ({ path: `${leases}?fieldSelector=metadata.name%3Dw` }));
exchange("19-watch-events.txt", () => ({
  path: `${leases}?watch=true&fieldSelector=metadata.name%3Dw&allowWatchBookmarks=true&timeoutSeconds=1&resourceVersion=${stored("w")?.resourceVersion}`,
  before: () => {
    setTimeout(() => {
      api.apply("leases", "default", lease("w", { ...later, holderIdentity: "w1" }));
      void call({ method: "DELETE", path: `${leases}/w` }).then((answer) => (deletion = answer.body));
    }, 200);
  },
}));
let deletion = "";
exchange("20b-delete-404.txt", () => ({ method: "DELETE", path: `${leases}/w` }));
exchange("21-watch-rv-future.txt", () => ({
  path: `${leases}?watch=true&resourceVersion=${base + 1_000_000}&timeoutSeconds=1`,
}));
exchange("22-watch-rv-1-410.txt", () => ({ path: `${leases}?watch=true&resourceVersion=1&timeoutSeconds=1` }));
exchange("23-list-rv-exact-old.txt", () => ({ path: `${leases}?resourceVersion=1&resourceVersionMatch=Exact` }));
exchange("24-watchlist-sendInitialEvents.txt", () => ({
  path: `${leases}?watch=true&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=1`,
}));
exchange("25-401.txt", () => ({ path: `${leases}/w`, token: "nobody" }));
exchange("27-anonymous.txt", () => ({ path: `${leases}/w`, token: null }));
exchange("28-404-path.txt", () => ({ path: "/apis/coordination.k8s.io/v1/namespaces/default/nothing/w" }));
exchange("29-delete-precondition-409-setup.txt", () => ({ method: "POST", path: leases, body: lease("w") }));
exchange("29-delete-precondition-409.txt", () => ({
  method: "DELETE",
  path: `${leases}/w`,
  body: { apiVersion: "v1", kind: "DeleteOptions", preconditions: { resourceVersion: "1" } },
}));
exchange("30-timeout-param.txt", () => ({ path: `${leases}?timeout=1ns` }));
exchange("26-403.txt", () => ({ path: `${leases}/w`, token: "user" }));
exchange("31-watch-410.txt", () => {
  api.compact();
  return { path: `${leases}?watch=true&resourceVersion=1&timeoutSeconds=1` };
});
exchange("32-list-410.txt", () => ({ path: `${leases}?resourceVersion=1&resourceVersionMatch=Exact` }));
const gone = (meta: Json) => ({
  ...lease("gone", {}, meta),
  spec: { holderIdentity: "a", leaseDurationSeconds: 15 },
});
exchange("33-put-with-rv-on-deleted.txt", () => put("gone", gone({ resourceVersion: "262" })));
exchange("34-put-with-rv-uid-on-deleted.txt", () => put("gone", gone({ resourceVersion: "262", uid: oldUid })));
exchange("35-put-uid-truly-deleted.txt", () => put("nope", lease("nope", {}, { resourceVersion: "262", uid: oldUid })));
exchange("36-put-create-without-create-verb.txt", () => ({ ...put("baker", lease("baker")), token: "baker" }));
exchange("10-patch-422-duration0.txt", () => {
  api.apply("leases", "default", { ...lease("la"), spec: la });
  return patch("la", { leaseDurationSeconds: 0 });
});
exchange("16a-patch-strategy.txt", () => patch("la", { strategy: "OldestEmulationVersion" }));
exchange("16b-patch-preferredHolder-no-strategy.txt", () => patch("la", { preferredHolder: "somebody" }));
exchange("11d-unknown-field.txt", () => patch("la", { bogus: 1 }));
exchange("17b-empty-holder.txt", () => patch("la", { holderIdentity: "" }));
exchange("99-cleanup.txt", () => ({ method: "DELETE", path: `${leases}/w` }));

const uuid = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g;
/** Without what two servers cannot have in common. */
function relevant(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(relevant);
  if (typeof value !== "object" || value === null)
    return typeof value === "string"
      ? value
          .replace(uuid, "<uid>")
          .replace(/in record \(\d+\)/, "in record (<n>)")
          .replace(/(too old resource version: \d+) \(\d+\)/, "$1 (<n>)")
      : value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([field]) => !["managedFields", "resourceVersion", "creationTimestamp"].includes(field))
      .map(([field, entry]) => [field, relevant(entry)]),
  );
}
const documents = (body: string, watch: boolean): Json[] =>
  (watch ? body.split("\n").filter((line) => line.trim() !== "") : [body]).map((text) => JSON.parse(text) as Json);

beforeAll(async () => {
  api = new KubeApi();
  api.addAdmin("admin");
  api.addToken("user", { name: "user", groups: ["system:authenticated"] });
  api.addToken("baker", { namespace: "default", serviceAccount: "baker" });
  api.addRole({
    metadata: { name: "baker", namespace: "default" },
    rules: [
      {
        apiGroups: ["coordination.k8s.io"],
        resources: ["leases"],
        resourceNames: ["baker"],
        verbs: ["get", "update", "patch"],
      },
    ],
  });
  api.addRoleBinding({
    metadata: { name: "baker", namespace: "default" },
    roleRef: { name: "baker" },
    subjects: [{ kind: "ServiceAccount", name: "baker" }],
  });
  url = (await api.start({ tls: false })).url;
});
afterAll(() => api.dispose());

test.each(exchanges.map((entry) => [entry.file, entry] as const))(
  "%s is answered as by a real API server",
  async (file, make) => {
    const wanted = recording(file);
    const request = make();
    void request.before?.();
    const got = await call(request);
    const watch = request.path.includes("watch=true");
    expect(got.status).toBe(wanted.status ?? (JSON.parse(wanted.body) as { code: number }).code);
    if (wanted.headers["content-type"] !== undefined)
      expect(got.headers.get("content-type")).toBe(wanted.headers["content-type"]);
    expect(got.headers.get("warning")).toBe(wanted.headers.warning ?? null);
    const [theirs, ours] = [documents(wanted.body, watch), documents(got.body, watch)];
    expect(ours.map(relevant)).toEqual(theirs.map(relevant));

    // Versions: each write takes the next one, as recorded from the first write on.
    const version = (document: Json | undefined) =>
      Number((document?.metadata as { resourceVersion?: string } | undefined)?.resourceVersion);
    if (file.startsWith("02")) base = version(ours[0]);
    if (/^(04|05|09-|12|17-|18)/.test(file)) expect(version(ours[0]) - base).toBe(version(theirs[0]) - 234);
    if (file.startsWith("19"))
      expect(ours.map((event) => version(event.object as Json) - base)).toEqual(
        theirs.map((event) => version(event.object as Json) - 234),
      );
  },
);

test("20-delete-200.body is answered as by a real API server", () => {
  expect(relevant(JSON.parse(deletion))).toEqual(
    relevant(JSON.parse(readFileSync(join(folder, "20-delete-200.body"), "utf8"))),
  );
});

test("every recording has its request", () => {
  expect(readdirSync(folder).sort()).toEqual([...exchanges.map((entry) => entry.file), "20-delete-200.body"].sort());
});
