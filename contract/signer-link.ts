/**
 * The signer link: the sshd of a tunnel pod, and what the signer host at home has to know. One tunnel pod per signer
 * and zone. Pure texts, so that the constructs write exactly what tests run against a real OpenSSH.
 */
import { signerPorts } from "./ports";

/** The service of the load balancer, in front of the tunnel pods. */
export const signerLinkName = "signer-link";

/** User name on both sides of the tunnel; the image's passwd knows it. */
export const signerLinkUser = "signer";

/** sshd options that depend on the version of OpenSSH in the image; may be missing. */
export const imageSshdOptions = "/etc/ssh/tunnel.conf";

export interface SshdOptions {
  hostKeyFile: string;
  authorizedKeysFile: string;
  /** Address and port of sshd itself; defaults 0.0.0.0 and signerPorts.sshd. */
  listenAddress?: string;
  port?: number;
  user?: string;
}

/**
 * sshd_config of a tunnel pod: keys only, remote forwarding of the one permitted port, no session of any kind
 * (MaxSessions 0). A dead peer is dropped after about 10 s (measured 9 to 12 s), so that its successor can bind the
 * port. The interval is 1 s because OpenSSH 9.2 checks a silent peer only in a poll that saw no traffic for a whole
 * interval: with 5 s and a health probe every 2 s it took 29 s and more. StrictModes is off because the mode of a
 * secret volume's root is not ours; the files are root's and read-only.
 */
export function sshdConfig(options: SshdOptions): string {
  return [
    `Include ${imageSshdOptions}`,
    `Port ${options.port ?? signerPorts.sshd}`,
    `ListenAddress ${options.listenAddress ?? "0.0.0.0"}`,
    `HostKey ${options.hostKeyFile}`,
    "PidFile none",
    "UsePAM no",
    "StrictModes no",
    `AllowUsers ${options.user ?? signerLinkUser}`,
    "AuthenticationMethods publickey",
    "PubkeyAuthentication yes",
    "PasswordAuthentication no",
    "KbdInteractiveAuthentication no",
    `AuthorizedKeysFile ${options.authorizedKeysFile}`,
    "AllowTcpForwarding remote",
    "AllowStreamLocalForwarding no",
    "AllowAgentForwarding no",
    "X11Forwarding no",
    "PermitTunnel no",
    "PermitTTY no",
    "PermitUserRC no",
    "PermitUserEnvironment no",
    "PermitOpen none",
    "GatewayPorts clientspecified",
    "MaxSessions 0",
    "MaxAuthTries 3",
    "MaxStartups 10:50:20",
    "LoginGraceTime 10",
    "TCPKeepAlive yes",
    "ClientAliveInterval 1",
    "ClientAliveCountMax 4",
    "LogLevel VERBOSE",
    "PrintMotd no",
    "",
  ].join("\n");
}

/** The line of authorized_keys of one signer: nothing but listening on the one port. */
export const authorizedKey = (sshPublicKey: string, listen = `0.0.0.0:${signerPorts.signer}`): string =>
  `restrict,port-forwarding,permitlisten="${listen}" ${sshPublicKey.trim()}\n`;

/** External port of the tunnel in the zone with this index: the signer's configured port, then the next ones. */
export const tunnelPort = (signerPort: number, zoneIndex: number): number => signerPort + zoneIndex;

/**
 * One element of the baker stack's output `signer_links` (JSON array); the input of scripts/signer-host. Keys in
 * snake_case as an output shows them.
 */
export interface SignerLinkOutput {
  baker: string;
  signer: string;
  /** Address of the link; IP or name, or "" where the load balancer has none yet. */
  host: string;
  /** "ssh-ed25519 AAAA...": the public half of the host key, or "" where the operator keeps the secret elsewhere. */
  host_key: string;
  user: string;
  /** What is spoken through the tunnels: octez-signer's HTTP protocol, or its TCP protocol. */
  protocol: "http" | "tcp";
  /** Where the tunnel listens inside its pod, for `ssh -R LISTEN:127.0.0.1:SIGNER_PORT`. */
  listen: string;
  /** `zone` is "any" where the cluster has none. */
  tunnels: { zone: string; port: number }[];
  /** Public key hashes that the signer must serve. */
  addresses: string[];
  /** Hash of the key with which the baker authenticates itself, "" where it has none. */
  authentication_key: string;
}
