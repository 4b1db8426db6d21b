/**
 * The HTTP paths of contract/leadership.ts on the pod address. What monitoring may reach only tells; what changes
 * something is on a port of its own, which no network policy opens: the kubelet reaches it all the same.
 */
import { electorPaths } from "../../contract/leadership";
import { LineStreams } from "../runtime/document-stream";
import { sendJson } from "../runtime/http-bodies";
import { serveHttp, type HttpServer } from "../runtime/http-server";
import type { Registry } from "../runtime/metrics";
import type { Elector } from "./elector";

export function serveElector(options: {
  elector: Elector;
  host: string;
  port: number;
  registry: Registry;
}): Promise<HttpServer> {
  const { elector } = options;
  const streams = new LineStreams();
  return serveHttp({
    host: options.host,
    port: options.port,
    metrics: options.registry,
    // Readiness of the pod is the sidecar's; here it only says that the process answers.
    status: () => elector.status(),
    routes: {
      [electorPaths.root]: (_request, response) => {
        const record = elector.leadership();
        if (record) sendJson(response, 200, { name: record.holder });
        else sendJson(response, 503, { error: "not-yet-known" });
      },
      [electorPaths.leadership]: (request, response, url) => {
        if (url.searchParams.get("watch") === "true")
          return streams.serve(request, response, (write) => elector.subscribe(write));
        const record = elector.leadership();
        if (record) sendJson(response, 200, record);
        else sendJson(response, 503, { error: "not-yet-known" });
      },
      [electorPaths.members]: (_request, response) => sendJson(response, 200, elector.members()),
    },
  });
}

/** The preStop calls, which only the node's kubelet can send: it knows no method but GET. */
export function servePreStop(options: {
  elector: Pick<Elector, "handOver">;
  host: string;
  port: number;
  preStopSeconds: number;
}): Promise<HttpServer> {
  return serveHttp({
    host: options.host,
    port: options.port,
    routes: {
      [electorPaths.handedOver]: async (_request, response) => {
        const handedOver = await options.elector.handOver(options.preStopSeconds * 1000);
        sendJson(response, 200, { handedOver });
      },
    },
  });
}
