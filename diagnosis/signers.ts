/** What the answers of the signers to the baking pods mean: for each way to a signer one sentence and what to do. */
import { signerServiceName } from "../contract/names";
import type { SignerProblem, SignerReport } from "../contract/signer-report";
import { critical, warning, type Finding } from "./finding";

/** By pod. */
export type SignersOfPods = ReadonlyMap<string, readonly SignerReport[]>;

export interface SignerView {
  /** "signer office", "signer home1 through europe-west1-b" */
  name: string;
  /** Where all is well. */
  text: string;
  finding?: Finding;
}

const page = "docs/runbooks/signer-swap.md";
interface Way extends SignerReport {
  host: string;
  byUrl: boolean;
  baker: string;
}
interface Said {
  text: string;
  remedy: string;
}

/** What to do where nothing answers behind a tunnel's service; a signer by URL has no such page. */
const tunnelRemedy = `on the signer host: signer-host doctor; ${page}#no-signer-answers`;
const opened = ({ baker }: Way): string =>
  `the network policy ${baker}-signer-urls opens the port of the URL towards its address, its ranges or its namespace only`;

/** Exhaustive: each cause has one sentence. */
const sentences: Readonly<Record<SignerProblem, (way: Way) => Said>> = {
  "no-address": (way) => ({
    text: `the pod finds no address for ${way.host}`,
    remedy: way.byUrl
      ? "correct the name in url; a name that only a VPN knows is none for the cluster: write the address"
      : "npm run deploy: the signer's service is missing",
  }),
  refused: (way) => ({
    text: `nothing listens on ${way.host}`,
    remedy: way.byUrl
      ? "start the signer there, on an address that the pods reach; correct the port in url"
      : tunnelRemedy,
  }),
  "no-way": (way) => ({
    text: `no connection to ${way.host} within the time`,
    remedy: way.byUrl ? `is the VPN up, and does its firewall let the pods in? ${opened(way)}` : tunnelRemedy,
  }),
  silent: (way) => ({
    text: `${way.host} takes the connection and says nothing`,
    remedy: way.byUrl
      ? "restart the signer; a device may wait for its PIN or for a person; one that speaks octez-signer's TCP protocol, " +
        "such as Russignol, is silent to HTTP: url is then tcp://HOST:7732"
      : tunnelRemedy,
  }),
  closed: (way) => ({
    text: `${way.host} takes the connection and closes it without an answer`,
    remedy: way.byUrl
      ? "does it speak what url says: http, https or tcp? otherwise its own log says why"
      : tunnelRemedy,
  }),
  certificate: (way) => ({
    text: `the certificate of ${way.host} is not accepted`,
    remedy:
      "it must be valid, name the host of url, and come from an authority that Node.js knows: renew it, or use a VPN",
  }),
  "no-tls": (way) => ({
    text: `${way.host} does not speak TLS as url says`,
    remedy: "write http:// where the signer speaks plain HTTP; correct the port otherwise",
  }),
  "not-http": (way) => ({
    text: `what answers on ${way.host} is no HTTP`,
    remedy: "is the port the signer's? docs/signer-link.md#signers-by-url",
  }),
  "header-asked": (way) => ({
    text: `${way.host} asks for a header that octez-baker does not send (HTTP 401)`,
    remedy:
      "Signatory: authorized_keys instead of jwt, and authentication_key of the baker; docs/signer-link.md#devices",
  }),
  "no-signer": (way) => ({
    text: `what answers at ${way.url} is no signer`,
    remedy: !way.byUrl
      ? "do the units of the signer host speak what protocol of the signer says? signer-host install, then doctor"
      : way.url.startsWith("tcp:")
        ? "is the port that of octez-signer's TCP protocol? http:// for a signer that speaks HTTP"
        : "correct path and port in url: URL/authorized_keys is what a signer answers",
  }),
  error: (way) => ({
    text: `the signer at ${way.host} answers with an error`,
    remedy: `its own log says why; ${page}#a-signer-does-not-sign`,
  }),
};

function keysSaid({ keys, byUrl }: Way): Said | undefined {
  const missing = keys.filter(({ found }) => !found);
  if (missing.length === 0) return undefined;
  const details = [...new Set(missing.map(({ detail }) => detail))].join(", ");
  return {
    text: `the signer answers, and does not show ${missing.map(({ address }) => address).join(" and ")} (${details})`,
    remedy: byUrl
      ? "import the key there, or let the signer serve it: URL/keys/ADDRESS must answer with its public key"
      : `on the signer host: signer-host doctor; ${page}#a-signer-does-not-sign`,
  };
}

function nobodyLetIn({ authorized }: Way): Said | undefined {
  return authorized?.length === 0
    ? {
        text: "the signer asks for authentication and lets nobody in",
        remedy: "on the signer: octez-signer add authorized key PUBLIC_KEY, the baker's authentication_key",
      }
    : undefined;
}

/** What is wrong with a way, or undefined. */
function trouble(way: Way): Said | undefined {
  if (!way.problem) return nobodyLetIn(way) ?? keysSaid(way);
  const { text, remedy } = sentences[way.problem.code](way);
  return { text: way.problem.detail === "" ? text : `${text} (${way.problem.detail})`, remedy };
}

const well = ({ host, keys, authorized }: Way): string =>
  `${host} answers and has ${keys.length === 1 ? "its key" : `its ${keys.length} keys`}; ` +
  (authorized === null ? "it asks for no authentication" : `it lets in ${authorized.join(", ")}`);

function wayOf(report: SignerReport, baker: string): Way {
  const { hostname, host } = URL.canParse(report.url) ? new URL(report.url) : { hostname: "", host: report.url };
  const byUrl = hostname !== signerServiceName(baker, report.signer, report.zone ?? undefined);
  return { ...report, baker, host, byUrl };
}

interface Asked {
  pod: string;
  way: Way;
  said: Said | undefined;
}
const serves = ({ way }: Asked, address: string): boolean =>
  !nobodyLetIn(way) && way.keys.some((key) => key.address === address && key.found);

/** Each pod has a signer for each key. */
function allServed(asked: readonly Asked[], pods: readonly string[]): boolean {
  const addresses = [...new Set(asked.flatMap(({ way }) => way.keys.map(({ address }) => address)))];
  const served = (pod: string, address: string) => asked.some((one) => one.pod === pod && serves(one, address));
  return addresses.length > 0 && pods.every((pod) => addresses.every((address) => served(pod, address)));
}

/**
 * One entry for each way to a signer. A way that does not serve is a warning where each pod has another one for each
 * key, and critical where some pod has none.
 */
export function signersView(pods: SignersOfPods, baker: string): SignerView[] {
  const asked = [...pods].flatMap(([pod, reports]) =>
    reports.map((report): Asked => {
      const way = wayOf(report, baker);
      return { pod, way, said: trouble(way) };
    }),
  );
  const severity = allServed(asked, [...pods.keys()]) ? warning : critical;
  const nameOf = ({ way }: Asked) => `signer ${way.signer}${way.zone === null ? "" : ` through ${way.zone}`}`;
  return [...new Set(asked.map(nameOf))].map((name): SignerView => {
    const all = asked.filter((one) => nameOf(one) === name);
    const bad = all.flatMap(({ pod, said }) => (said ? [{ pod, ...said }] : []));
    const [first] = bad;
    if (!first) return { name, text: all[0] ? well(all[0].way) : "" };
    // Most often it is the signer's own matter, and every pod says the same.
    const same = bad.length === all.length && bad.every(({ text }) => text === first.text);
    const text = same ? first.text : bad.map((one) => `from ${one.pod}: ${one.text}`).join("; ");
    return { name, text, finding: severity("signer-not-serving", text, first.remedy) };
  });
}
