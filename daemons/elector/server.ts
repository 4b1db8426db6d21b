/**
 * The HTTP paths of contract/leadership.ts on the pod address. What monitoring may reach only tells; what changes
 * something is on a port of its own, which no network policy opens: the kubelet reaches it all the same.
 */
import { electorPaths } from "../../contract/leadership";
import { sendJson, serveHttp, type HttpServer } from "../runtime/http-server";
import type { Registry } from "../runtime/metrics";
import { StreamPlaces } from "../runtime/stream-places";
import type { Elector } from "./elector";

/** A reader that lets this much pile up is cut off: it comes back and gets the newest record. */
const maxBacklogBytes = 256 * 1024;

export function serveElector(options: {
  elector: Elector;
  host: string;
  port: number;
  registry: Registry;
}): Promise<HttpServer> {
  const { elector } = options;
  const places = new StreamPlaces();
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
        if (url.searchParams.get("watch") !== "true") {
          const record = elector.leadership();
          if (record) sendJson(response, 200, record);
          else sendJson(response, 503, { error: "not-yet-known" });
          return;
        }
        const leave = places.take(request);
        if (!leave) {
          sendJson(response, 503, { error: "too-many-streams" }, { "retry-after": "1" });
          return;
        }
        response.writeHead(200, { "content-type": "application/x-ndjson", "cache-control": "no-store" });
        response.flushHeaders();
        request.socket.setNoDelay(true);
        const unsubscribe = elector.subscribe((line) => {
          if (response.writableLength > maxBacklogBytes) response.destroy();
          else response.write(line + "\n");
        });
        response.on("close", () => {
          leave();
          unsubscribe();
        });
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
