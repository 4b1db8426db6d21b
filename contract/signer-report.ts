/** How the signers answer a baking pod: what `tog sidecar signers` prints for the operator's commands. */
import * as z from "zod/mini";

/** Why no signer answers there. */
export const signerProblems = [
  /** The pod finds no address for the host. */
  "no-address",
  /** Nothing listens on the port. */
  "refused",
  /** No connection within the time. */
  "no-way",
  /** It takes the connection and says nothing. */
  "silent",
  /** It takes the connection and closes it without an answer. */
  "closed",
  "certificate",
  /** https, and what answers speaks no TLS. */
  "no-tls",
  "not-http",
  /** HTTP 401. */
  "header-asked",
  /** HTTP, and no signer's. */
  "no-signer",
  /** A signer that answers with an error. */
  "error",
] as const;
export type SignerProblem = (typeof signerProblems)[number];

export const signerReportSchema = z.object({
  signer: z.string(),
  zone: z.nullable(z.string()),
  url: z.string(),
  /** Null where a signer answers; `detail` has the error's own words. */
  problem: z.nullable(z.object({ code: z.enum(signerProblems), detail: z.string() })),
  /** Whom it lets in; null where it asks for no authentication, or does not answer. */
  authorized: z.nullable(z.array(z.string())),
  /** Of those that it is configured for; [] where it does not answer. `found`: its public key is the right one. */
  keys: z.array(z.object({ address: z.string(), found: z.boolean(), detail: z.string() })),
});
export const signerReportsSchema = z.array(signerReportSchema);
export type SignerReport = z.infer<typeof signerReportSchema>;
