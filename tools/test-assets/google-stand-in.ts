/**
 * The two calls by which the stack `baker` finds what `platform` made, answered on this machine: the cluster and the
 * signer link's address of any name. With it the real google provider plans that stack without an account. Everything
 * else is 404 and kept in `refused`.
 */
import { createServer } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";

export interface GoogleStandIn {
  /** Arguments of the google provider. */
  endpoints: Record<string, string>;
  refused: string[];
  stop(): Promise<void>;
}

const cluster = (project: string, location: string, name: string) => ({
  name,
  location,
  selfLink: `https://container.googleapis.com/v1/projects/${project}/locations/${location}/clusters/${name}`,
  status: "RUNNING",
  endpoint: "203.0.113.10",
  initialNodeCount: 1,
  // Google always sends these two; the provider takes it for granted.
  legacyAbac: {},
  networkConfig: { datapathProvider: "ADVANCED_DATAPATH" },
  masterAuth: { clusterCaCertificate: Buffer.from("a dummy").toString("base64") },
  controlPlaneEndpointsConfig: {
    dnsEndpointConfig: { endpoint: `gke-0123456789.${location}.gke.goog`, allowExternalTraffic: true },
    ipEndpointsConfig: { enabled: false },
  },
});
const address = (project: string, region: string, name: string) => ({
  kind: "compute#address",
  id: "1",
  name,
  address: "203.0.113.20",
  addressType: "EXTERNAL",
  status: "RESERVED",
  region,
  selfLink: `https://www.googleapis.com/compute/v1/projects/${project}/regions/${region}/addresses/${name}`,
});

const answers: Record<string, ((project: string, place: string, name: string) => object) | undefined> = {
  "locations/clusters": cluster,
  "regions/addresses": address,
};

export async function startGoogleStandIn(): Promise<GoogleStandIn> {
  const refused: string[] = [];
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? "/", "http://google");
    const [, project, kind, place, type, name] =
      /\/projects\/([^/]+)\/(locations|regions)\/([^/]+)\/([^/]+)\/([^/]+)$/.exec(pathname) ?? [];
    const known = answers[`${kind}/${type}`];
    const found =
      request.method === "GET" && known && project && place && name ? known(project, place, name) : undefined;
    const message = `the stand-in does not know ${request.method} ${pathname}`;
    if (!found) refused.push(message);
    const body = found ?? { error: { code: 404, status: "NOT_FOUND", message } };
    response.writeHead(found ? 200 : 404, { "content-type": "application/json" }).end(JSON.stringify(body));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    refused,
    endpoints: { container_custom_endpoint: `${url}/container/v1/`, compute_custom_endpoint: `${url}/compute/v1/` },
    stop: () =>
      new Promise((done) => {
        server.close(() => done());
        server.closeAllConnections();
      }),
  };
}
