/**
 * Alertmanager's API v2, as strict as a reader of its specification: unknown fields are refused, an alert that was
 * taken is answered with 200 and nothing, one that was not with 400 and a JSON string.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import * as z from "zod/mini";

const labelName = z.string().check(z.regex(/^[a-zA-Z_][a-zA-Z0-9_]*$/));
const postable = z.array(
  z.strictObject({
    labels: z.record(labelName, z.string().check(z.minLength(1))),
    annotations: z.optional(z.record(labelName, z.string())),
    startsAt: z.optional(z.iso.datetime({ offset: true })),
    endsAt: z.optional(z.iso.datetime({ offset: true })),
    generatorURL: z.optional(z.string()),
  }),
);
export type Posted = z.infer<typeof postable>[number];

const resolveTimeoutMs = 300_000;

export class Alertmanager {
  readonly posted: Posted[] = [];
  /** Its whole configuration file; secrets as Alertmanager shows them. */
  configuration = "";
  /** Whom its routes choose for every alert. */
  receivers: readonly string[] = ["people"];
  state: "active" | "suppressed" | "unprocessed" = "active";
  /** It takes alerts and shows none, as another one of several does. */
  forgetful = false;
  constructor(private readonly now: () => number) {}

  serve(request: IncomingMessage, path: string, body: string, response: ServerResponse): void {
    const answer = (status: number, value?: unknown): void => {
      response.writeHead(status, { "content-type": "application/json" });
      response.end(value === undefined ? undefined : JSON.stringify(value));
    };
    const url = new URL(path, "http://alertmanager");
    const asked = `${request.method} ${url.pathname}`;
    if (asked === "GET /api/v2/status")
      return answer(200, {
        cluster: { status: "disabled", peers: [] },
        config: { original: this.configuration },
        uptime: "2026-11-28T00:00:00.000Z",
        versionInfo: { version: "0.28.1" },
      });
    if (asked === "POST /api/v2/alerts") return this.take(request, body, answer);
    if (asked === "GET /api/v2/alerts") return answer(200, this.shown(url.searchParams.getAll("filter")));
    answer(404, { code: 404, message: `path ${url.pathname} was not found` });
  }

  private take(request: IncomingMessage, body: string, answer: (status: number, value?: unknown) => void): void {
    if (request.headers["content-type"] !== "application/json")
      return answer(415, { code: 415, message: "unsupported media type" });
    try {
      this.posted.push(...postable.parse(JSON.parse(body)));
    } catch (error) {
      return answer(400, error instanceof Error ? error.message : String(error));
    }
    answer(200);
  }

  private shown(filters: readonly string[]): unknown[] {
    const wanted = filters.map((filter) => {
      const [, name = "", value] = /^(\w+)="(.*)"$/.exec(filter) ?? [];
      if (value === undefined) throw new Error(`this double knows equal matchers; got ${filter}`);
      return { name, value };
    });
    return (this.forgetful ? [] : this.posted)
      .filter(({ labels }) => wanted.every(({ name, value }) => labels[name] === value))
      .map(({ labels, annotations = {}, startsAt, endsAt }, i) => ({
        labels,
        annotations,
        fingerprint: i.toString(16).padStart(16, "0"),
        startsAt: startsAt ?? new Date(this.now()).toISOString(),
        updatedAt: new Date(this.now()).toISOString(),
        endsAt: endsAt ?? new Date(this.now() + resolveTimeoutMs).toISOString(),
        receivers: this.receivers.map((name) => ({ name })),
        status: { state: this.state, silencedBy: [], inhibitedBy: [], mutedBy: [] },
      }));
  }
}
