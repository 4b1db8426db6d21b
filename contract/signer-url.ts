/**
 * The URL of a signer that is not behind the signer link: what it names, and why it cannot be used. Pure, so that the
 * network policy opens exactly what the rule has checked.
 */
export interface SignerUrl {
  /** A DNS name or an IPv4 address, as URLs write it. */
  readonly host: string;
  readonly port: number;
  /** The host is an address, and no name. */
  readonly isAddress: boolean;
  readonly encrypted: boolean;
}

/** Why a URL cannot be used. `found` never has its text where that may hold a secret. */
export interface UnusableUrl {
  readonly found: string;
  readonly write: string;
}

const example = 'a URL over http, https or tcp, like "http://10.8.0.5:6732"';
const addressPattern = /^\d+\.\d+\.\d+\.\d+$/;
const namePattern = /^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.?$/;

/** IPv4 addresses that never lead to a signer: of this host, of the link (a cloud's metadata), of groups. */
export const leadsNowhere = (address: string): boolean =>
  /^(0|127|22[4-9]|2[345]\d)\./.test(address) || address.startsWith("169.254.");
export const isPrivate = (address: string): boolean =>
  /^(10|192\.168|172\.(1[6-9]|2\d|3[01])|100\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7]))\./.test(address);

/** URLs of other schemes than http keep a host as it was written: 2130706433 is 127.0.0.1 all the same. */
const asHttp = (url: URL): URL | undefined => {
  const text = url.href.replace(/^tcp:/, "http:");
  return URL.canParse(text) ? new URL(text) : undefined;
};

export function readSignerUrl(text: string): SignerUrl | UnusableUrl {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const read = url && asHttp(url);
  if (!url || !read) return { found: "a text that is no URL", write: example };
  const { protocol, port } = url;
  const { username, password, search, hash, hostname, pathname } = read;
  if (username !== "" || password !== "")
    return {
      found: "a URL with a user or a password (not shown)",
      write:
        "the URL alone: octez-baker sends no such header; whom a signer lets in is the matter of authentication_key",
    };
  if (search !== "" || hash !== "")
    return { found: "a URL with a query or a fragment (not shown)", write: "the URL up to its path" };
  const found = JSON.stringify(text);
  const overTcp = protocol === "tcp:";
  if (protocol !== "http:" && protocol !== "https:" && !overTcp) return { found, write: example };
  if (overTcp && (port === "" || pathname !== "/"))
    return { found, write: 'host and port alone, like "tcp://10.8.0.5:7732": the baker knows its keys' };
  const host = hostname.toLowerCase();
  const isAddress = addressPattern.test(host);
  if ((!isAddress && !namePattern.test(host)) || host.length > 253)
    return { found, write: "an IPv4 address or a DNS name as its host: the network policies know IPv4 ranges" };
  if (isAddress ? leadsNowhere(host) : /(^|\.)localhost\.?$/.test(host))
    return {
      found,
      write:
        "an address that other machines reach: the baking pod is alone on its loopback address, and link-local ones are the cloud's",
    };
  const encrypted = protocol === "https:";
  return { host, port: port === "" ? (encrypted ? 443 : 80) : Number(port), isAddress, encrypted };
}
