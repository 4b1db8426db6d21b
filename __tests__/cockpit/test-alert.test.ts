/**
 * `test-alert` from its words to Alertmanager. Where it is about the way there, the command is a process with a
 * kubeconfig, and an API server carries what it is asked; otherwise Alertmanager is asked directly.
 */
import { spawn } from "node:child_process";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Cluster, ServicePort } from "../../cockpit/cluster";
import { cockpit } from "../../cockpit/main";
import { readBody } from "../../daemons/runtime/http-bodies";
import { Alertmanager } from "../helpers/alertmanager";
import { commandPath } from "../helpers/bundle";

const configuration = `
global: { resolve_timeout: 5m }
route: { receiver: people, group_by: [baker, alertname], group_wait: 10s, group_interval: 1m }
receivers:
- name: people
  slack_configs: [{ channel: "#bakery", api_url: <secret> }]
  telegram_configs: [{ chat_id: -1001234567890, bot_token: <secret> }]
  discord_configs: [{ webhook_url: <secret> }]
  email_configs: [{ to: me@example.org }]
  pagerduty_configs: [{ routing_key: <secret> }]
- name: nobody
`;
const folder = mkdtempSync(join(tmpdir(), "tog-test-alert-"));
const kubeconfig = join(folder, "config");
let alertmanager: Alertmanager;
/** What the API server says instead of asking the service; undefined: it asks. */
let refusal: (service: string) => { code: number; message: string } | undefined;
let asked: string[];
let server: Server;
let url: string;

const services: Readonly<Record<string, boolean>> = { "gmp-system/alertmanager:9093": true };
async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const answer = (code: number, value: unknown): void => {
    response.writeHead(code, { "content-type": "application/json" });
    response.end(JSON.stringify(value));
  };
  const status = (code: number, message: string): void =>
    answer(code, { kind: "Status", apiVersion: "v1", status: "Failure", message, code });
  const path = request.url ?? "/";
  const body = (await readBody(request, 100_000)).toString();
  if (request.headers.authorization !== "Bearer secret-token") return status(401, "Unauthorized");
  if (path.startsWith("/api/v1/namespaces/tezos/pods"))
    return answer(200, {
      kind: "PodList",
      apiVersion: "v1",
      metadata: { resourceVersion: "1" },
      items: [{ metadata: { name: "alice-as-0", uid: "u", labels: { baker: "alice" } }, spec: {}, status: {} }],
    });
  const [, namespace = "", service = "", rest = ""] =
    /^\/api\/v1\/namespaces\/([^/]+)\/services\/([^/]+)\/proxy(\/.*)$/.exec(path) ?? [];
  const name = `${namespace}/${service}`;
  asked.push(`${request.method} ${name}${rest.replace(/\?.*/, "")}`);
  const refused = refusal(name);
  if (refused) return status(refused.code, refused.message);
  if (!services[name]) return status(404, `services "${service.split(":")[0]}" not found`);
  alertmanager.serve(request, rest, body, response);
}

beforeAll(async () => {
  server = createServer((request, response) => void serve(request, response));
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const name = "cluster";
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  writeFileSync(
    kubeconfig,
    JSON.stringify({
      ...{ apiVersion: "v1", kind: "Config", "current-context": name },
      clusters: [{ name, cluster: { server: url, "insecure-skip-tls-verify": true } }],
      users: [{ name, user: { token: "secret-token" } }],
      contexts: [{ name, context: { cluster: name, user: name, namespace: "tezos" } }],
    }),
  );
});
afterAll(async () => {
  server.closeAllConnections();
  await new Promise((done) => server.close(done));
  rmSync(folder, { recursive: true, force: true });
});
beforeEach(() => {
  alertmanager = new Alertmanager(() => Date.now());
  alertmanager.configuration = configuration;
  refusal = () => undefined;
  asked = [];
});

interface Said {
  code: number | null;
  out: string;
  err: string;
}
async function asProcess(...words: string[]): Promise<Said> {
  const command = await commandPath("baker");
  return new Promise((done) => {
    const child = spawn(process.execPath, [command, "test-alert", ...words, "--kubeconfig", kubeconfig]);
    const said = { out: "", err: "" };
    child.stdout.on("data", (data: Buffer) => (said.out += data.toString()));
    child.stderr.on("data", (data: Buffer) => (said.err += data.toString()));
    child.on("exit", (code) => done({ code, ...said }));
  });
}

/** Without the API server between: the service is there, and what is asked of it is the same. */
const direct = {
  pods: () => Promise.resolve([{ metadata: { labels: { baker: "alice" } } }]),
  askService: async ({ namespace }: ServicePort, path: string, body?: unknown) => {
    if (namespace !== "gmp-system") return undefined;
    const sent = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
    const answer = await fetch(`${url}/api/v1/namespaces/gmp-system/services/alertmanager:9093/proxy${path}`, {
      ...sent,
      headers: { authorization: "Bearer secret-token", "content-type": "application/json" },
    });
    return { status: answer.status, text: await answer.text() };
  },
} as unknown as Cluster;
async function run(...words: (string | { cluster: Cluster })[]): Promise<Said> {
  const said = { out: "", err: "" };
  const given = words.find((word) => typeof word === "object");
  const code = await cockpit(["test-alert", ...words.filter((word) => typeof word === "string")], {
    connect: () => given?.cluster ?? direct,
    out: (text) => void (said.out += text),
    err: (text) => void (said.err += text),
    terminal: false,
  });
  return { code, ...said };
}

test("one alert that says it is a test is sent, and everybody who should see it is named", async () => {
  const { code, out, err } = await asProcess();
  expect({ code, err }).toEqual({ code: 0, err: "" });
  expect(alertmanager.posted).toHaveLength(1);
  const [{ labels, annotations }] = alertmanager.posted as [(typeof alertmanager.posted)[number]];
  expect(labels).toMatchObject({ alertname: "TezosBakerTestAlert", baker: "alice" });
  expect(annotations?.summary).toBe("Test alert of alice: nothing is wrong");
  expect(out).toMatch(/^TezosBakerTestAlert of alice was sent to the Alertmanager\ngmp-system\/alertmanager at 20/);
  expect(out).toContain(
    [
      "These should see it within 10s (1m if another test was sent just before):",
      "  Slack #bakery",
      "  Telegram chat -1001234567890",
      "  Discord",
      "  e-mail me@example.org",
      "  pagerduty",
      "It ends by itself at 20",
    ].join("\n"),
  );
  expect(out).toContain("kubectl -n gmp-system logs -l app.kubernetes.io/name=alertmanager");
});

test("our own Alertmanager is asked before Google's, and nothing but the one that answers gets the alert", async () => {
  expect((await asProcess("--json")).code).toBe(0);
  expect(asked).toEqual([
    "GET monitoring/alertmanager-operated:9093/api/v2/status",
    "GET gmp-system/alertmanager:9093/api/v2/status",
    "POST gmp-system/alertmanager:9093/api/v2/alerts",
    "GET gmp-system/alertmanager:9093/api/v2/alerts",
  ]);
});

test("--json prints the same as one object", async () => {
  const { code, out } = await run("--json");
  const said = JSON.parse(out) as { sentAt: string; endsAt: string };
  expect(code).toBe(0);
  expect(said).toMatchObject({
    ...{ alertmanager: "gmp-system/alertmanager", name: "TezosBakerTestAlert", baker: "alice" },
    receivers: ["Slack #bakery", "Telegram chat -1001234567890", "Discord", "e-mail me@example.org", "pagerduty"],
    ...{ within: "10s", again: "1m", suppressed: false },
  });
  expect(Date.parse(said.endsAt) - Date.parse(said.sentAt)).toBeGreaterThanOrEqual(299_000);
});

test("a second test is another alert, so that it is told, too", async () => {
  await run();
  await new Promise((done) => setTimeout(done, 1001 - (Date.now() % 1000)));
  await run();
  expect(new Set(alertmanager.posted.map(({ labels }) => JSON.stringify(labels))).size).toBe(2);
});

test("a receiver that tells nobody is no success, nor is a silence", async () => {
  alertmanager.receivers = ["nobody"];
  const nobody = await run();
  expect(nobody.code).toBe(1);
  expect(nobody.out).toContain("Nobody is told: its configuration names nobody for it. Say in `monitoring` whom");
  alertmanager.receivers = ["people"];
  alertmanager.state = "suppressed";
  const silenced = await run();
  expect(silenced.code).toBe(1);
  expect(silenced.out).toContain("Nobody is told: a silence or another alert holds it back.");
});

test("an alert that Alertmanager took and does not show is no success", async () => {
  alertmanager.forgetful = true;
  const { code, err } = await run();
  expect(code).toBe(1);
  expect(err).toContain("took the alert and does not show it");
});

test("a cluster without an Alertmanager of ours is told with what to write", async () => {
  refusal = (service) => ({ code: 404, message: `services "${service}" not found` });
  const { code, err } = await asProcess();
  expect(code).toBe(1);
  expect(err).toContain(
    "no Alertmanager of ours (services monitoring/alertmanager-operated, gmp-system/alertmanager, gke-gmp-system/alertmanager)",
  );
  expect(err).toContain("say in `monitoring` whom to tell");
});

test("somebody else's Alertmanager gets no alert: it is skipped, with the reason, and the next one is tried", async () => {
  const asked = [] as string[];
  const foreign = { config: { original: "route: { receiver: web }\nreceivers: [{ name: web, slack_configs: [{}] }]" } };
  const both = {
    ...direct,
    askService: (to: ServicePort, path: string, body?: unknown) => {
      asked.push(`${to.namespace}${path.replace(/\?.*/, "")}`);
      return to.namespace === "monitoring"
        ? Promise.resolve({ status: 200, text: JSON.stringify(foreign) })
        : direct.askService(to, path, body);
    },
  };
  const { code, out } = await run({ cluster: both });
  expect(code).toBe(0);
  expect(out.replace(/\s+/g, " ")).toContain(
    'Skipped: monitoring/alertmanager-operated has another configuration than ours, without the receiver "people". TezosBakerTestAlert of alice was sent to the Alertmanager gmp-system/alertmanager',
  );
  expect(asked.filter((one) => one.startsWith("monitoring"))).toEqual(["monitoring/api/v2/status"]);
  alertmanager.configuration = foreign.config.original;
  const none = await run({ cluster: both });
  expect(none.code).toBe(1);
  expect(none.err).toContain("gmp-system/alertmanager has another configuration than ours");
  expect(none.err).toContain("say in `monitoring` whom to tell");
  expect(alertmanager.posted).toHaveLength(1);
});

test("an Alertmanager that does not run hides no other that is ours", async () => {
  const message = 'no endpoints available for service "alertmanager-operated:9093"';
  refusal = (service) => (service.startsWith("monitoring/") ? { code: 503, message } : undefined);
  const { code, out } = await asProcess();
  expect(code).toBe(0);
  expect(out.replace(/\s+/g, " ")).toContain(`was not asked: the cluster answered 503: ${message}.`);
});

test("a user who may not ask services learns the right that is needed, and one namespace that is closed hides no other", async () => {
  const forbidden = { code: 403, message: 'services "alertmanager:9093" is forbidden' };
  refusal = (service) => (service.startsWith("gmp-system/") ? undefined : forbidden);
  expect((await asProcess()).code).toBe(0);
  refusal = () => forbidden;
  const { code, err } = await asProcess();
  expect(code).toBe(3);
  expect(err).toContain("(needed: get and create of services/proxy there)");
});

test("an Alertmanager that does not run is told in the API server's words", async () => {
  const message = 'no endpoints available for service "alertmanager:9093"';
  refusal = (service) => (service.startsWith("gmp-system/") ? { code: 503, message } : { code: 404, message: "" });
  const { code, err } = await asProcess();
  expect(code).toBe(3);
  expect(err).toContain(`the cluster answered 503: ${message}`);
});

test("what is no Alertmanager is said to be none, and gets no alert", async () => {
  alertmanager.configuration = "[]";
  const { code, err } = await run();
  expect(code).toBe(1);
  expect(err).toContain("no Alertmanager with the API v2");
  expect(alertmanager.posted).toEqual([]);
});

test("an option that does not exist ends the command before anything is asked", async () => {
  const { code } = await run("--to", "slack");
  expect(code).toBe(2);
  expect(asked).toEqual([]);
});

test("the double refuses what Alertmanager's specification does not have, so that these tests can fail", () => {
  const answers: [number, unknown][] = [];
  const response = {
    writeHead: (status: number) => answers.push([status, undefined]),
    end: (text?: string) => void (answers[answers.length - 1] = [answers.at(-1)?.[0] ?? 0, text]),
  } as unknown as ServerResponse;
  const request = { method: "POST", headers: { "content-type": "application/json" } } as IncomingMessage;
  const post = (value: unknown) => alertmanager.serve(request, "/api/v2/alerts", JSON.stringify(value), response);
  post([{ labels: { alertname: "a" }, summary: "no such field" }]);
  post({ labels: { alertname: "a" } });
  post([{ labels: { "not-a-label": "a" } }]);
  post([{ labels: { alertname: "a" } }]);
  expect(answers.map(([status]) => status)).toEqual([400, 400, 400, 200]);
  expect(typeof JSON.parse(String(answers[0]?.[1]))).toBe("string");
  expect(answers[3]?.[1]).toBeUndefined();
});
