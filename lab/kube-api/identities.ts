/** Who asks: tokens, and the authority whose certificate they verify the API with. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { isIP } from "node:net";
import { join } from "node:path";
import { createAuthority, createServerCertificate, type KeyAndCertificate } from "./certificates";
import { anonymous, serviceAccountUser, type User } from "./rbac";
import * as failure from "./status";

function loadAuthority(folder: string | undefined): KeyAndCertificate {
  if (folder === undefined) return createAuthority();
  const path = join(folder, "authority.json");
  if (existsSync(path)) return JSON.parse(readFileSync(path, "utf8")) as KeyAndCertificate;
  const authority = createAuthority();
  writeFileSync(path, JSON.stringify(authority), { mode: 0o600 });
  return authority;
}

export class Identities {
  private readonly authority: KeyAndCertificate;
  private readonly tokens = new Map<string, { user: User; client: string }>();

  /** @param folder keeps the authority */
  constructor(folder?: string) {
    this.authority = loadAuthority(folder);
  }

  /** PEM of the authority that clients verify with. */
  get ca(): string {
    return this.authority.certificate;
  }

  /**
   * `client` names the holder of this token in faults and in the audit; several tokens of one user may have different
   * ones.
   */
  addToken(token: string, user: User | { namespace: string; serviceAccount: string }, client?: string): void {
    const known = "serviceAccount" in user ? serviceAccountUser(user.namespace, user.serviceAccount) : user;
    this.tokens.set(token, { user: known, client: client ?? known.name });
  }
  /** A token that may do everything. */
  addAdmin(token: string, client = "admin"): void {
    this.addToken(token, { name: "admin", groups: ["system:masters", "system:authenticated"] }, client);
  }
  /** Writes what a service account volume holds: token, ca.crt, namespace. */
  writeKubeDir(folder: string, token: string, namespace: string): void {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "token"), token, { mode: 0o600 });
    writeFileSync(join(folder, "ca.crt"), this.ca);
    writeFileSync(join(folder, "namespace"), namespace);
  }

  /** @throws ApiError 401 */
  authenticate(request: IncomingMessage): { user: User; client: string } {
    const header = request.headers.authorization;
    if (header === undefined) return { user: anonymous, client: anonymous.name };
    const known = this.tokens.get(/^Bearer (.+)$/i.exec(header)?.[1] ?? "");
    if (!known) throw failure.unauthorized();
    return known;
  }

  serverCertificate(host: string, names: readonly string[]): { key: string; cert: string } {
    const hosts = [...new Set([host, "localhost", "kubernetes.default.svc", ...names])].filter(
      (entry) => isIP(entry) !== 6,
    );
    const { key, certificate } = createServerCertificate(this.authority, hosts);
    return { key, cert: certificate };
  }
}
