/** Rules about one remote signer: a tunnel or a URL, and what a URL opens. */
import { isPrivate, leadsNowhere, readSignerUrl } from "../../contract/signer-url";
import { show } from "../errors";
import { type BakerRule, type Finding, given, issue, map, text, texts, type Values, when } from "./facts";

export const signersOf = (baker: Values): [string, Values][] =>
  Object.entries(map(baker.signers)).map(([name, signer]) => [name, map(signer)]);
/** Those that the signer link serves. */
export const tunnelsOf = (baker: Values): [string, Values][] => signersOf(baker).filter(([, { url }]) => !given(url));

const ofTunnels = ["ssh_public_key", "port"];
const optionalOfTunnels = ["protocol"];
const ofUrls = ["ranges", "namespace"];

/** What a tunnel needs, and a URL beside it. */
const oneWay: BakerRule = ({ baker, path }) =>
  signersOf(baker).flatMap(([name, signer]) => {
    const here = [...path, "signers", name];
    const beside = (keys: readonly string[], what: string): Finding[] =>
      keys
        .filter((key) => given(signer[key]))
        .map((key) =>
          issue([...here, key], `${key} ${what}`, `either ssh_public_key and port, or url with ${ofUrls.join(" or ")}`),
        );
    if (given(signer.url)) return beside([...ofTunnels, ...optionalOfTunnels], "beside url");
    const missing = ofTunnels.filter((key) => !given(signer[key]));
    if (missing.length === ofTunnels.length)
      return [issue(here, "no way to it", 'ssh_public_key and port for a tunnel, or url = "http://10.8.0.5:6732"')];
    return [
      ...missing.map((key) => issue([...here, key], "nothing", `${key}, which a tunnel needs`)),
      ...beside(ofUrls, "without url, which would be ignored"),
    ];
  });

const [leastPrefix, most] = [16, "65,536"];

const rangesOfName = (here: readonly string[], signer: Values): Finding[] => {
  const ways = ofUrls.filter((key) => given(signer[key]));
  if (ways.length !== 1)
    return [
      issue(
        [...here, ways.length === 0 ? "ranges" : "namespace"],
        ways.length === 0 ? `nothing beside a name, ${show(signer.url)}` : "ranges and namespace",
        'one of: ranges = ["10.8.0.0/24"], where its addresses lie; namespace = "vpn", where pods of this cluster answer',
      ),
    ];
  const ranges = texts(signer.ranges);
  return [
    ...when(
      Array.isArray(signer.ranges) && signer.ranges.length === 0,
      [...here, "ranges"],
      "[]",
      "at least one range",
    ),
    ...ranges.flatMap((range) =>
      when(
        Number(range.split("/")[1]) < leastPrefix || leadsNowhere(range),
        [...here, "ranges"],
        show(range),
        `the signer's own ranges, of at most ${most} addresses each, and no loopback or link-local ones`,
      ),
    ),
  ];
};

const urlOfSigner: BakerRule = ({ baker, path }) => {
  const seen = new Map<string, string>();
  return signersOf(baker).flatMap(([name, signer]) => {
    const url = text(signer.url);
    if (url === undefined) return [];
    const here = [...path, "signers", name];
    const read = readSignerUrl(url);
    if ("write" in read) return [issue([...here, "url"], read.found, read.write)];
    // Behind one host several signers may answer, each at its path.
    const place = `${read.host}:${read.port}${new URL(url).pathname.replace(/\/+$/, "")}`;
    const first = seen.get(place);
    seen.set(place, first ?? name);
    if (first !== undefined)
      return [
        issue([...here, "url"], `${place}, which is ${first}`, "each signer once: two names are not two signers"),
      ];
    if (!read.isAddress) return rangesOfName(here, signer);
    return ofUrls
      .filter((key) => given(signer[key]))
      .map((key) => issue([...here, key], `${key} beside an address`, "nothing: an address opens exactly itself"));
  });
};

/** Whoever is on the way reads the requests, and may send some. */
const openHttp: BakerRule = ({ name: baker, baker: settings }) =>
  signersOf(settings).flatMap(([name, signer]) => {
    const read = readSignerUrl(text(signer.url) ?? "");
    if ("write" in read || read.encrypted) return [];
    const addresses = read.isAddress ? [read.host] : texts(signer.ranges);
    return addresses.every(isPrivate)
      ? []
      : [
          {
            warning: `bakers.${baker}.signers.${name}.url is ${new URL(text(signer.url) ?? "").protocol.slice(0, -1)} to a public address: whoever is on the way can drop and repeat requests, and whoever reaches the signer can ask it. Use a tunnel, a VPN or https, and an authentication_key.`,
          },
        ];
  });

export const signerRules: readonly BakerRule[] = [oneWay, urlOfSigner];
export const signerWarnings: readonly BakerRule[] = [openHttp];
