/** Timings of one baker: one schema for the configuration, the constructs and the daemons. */
import * as z from "zod/mini";

const seconds = (value: number) => z._default(z.number().check(z.positive()), value);
const milliseconds = seconds;

export const timingsSchema = z
  .strictObject({
    /** How long others wait after the last renewal that they saw. Whole seconds: the API takes no fractions. */
    leaseSeconds: z._default(z.int().check(z.positive()), 6),
    /** Counted from the send time of the last successful renewal; then the holder stops itself. */
    renewDeadlineSeconds: seconds(5),
    retrySeconds: seconds(1),
    requestTimeoutMs: milliseconds(1000),
    /** Time that killing the daemons may take, and the allowance for clocks that tick differently. */
    killMs: milliseconds(300),
    clockMarginMs: milliseconds(500),
    stopGraceSeconds: seconds(2),
    memberRenewSeconds: seconds(2),
    memberMaxAgeSeconds: seconds(6),
    /** How long a master may be ineligible, or behind by `aheadLevels`, before it hands over. */
    ineligibleSeconds: seconds(6),
    aheadLevels: z._default(z.int().check(z.positive()), 2),
    lastResortSeconds: seconds(60),
    voluntaryHandoverSeconds: seconds(60),
    voluntaryHandoverMaxSeconds: seconds(600),
    /** How long a planned handover waits for a moment without a right; under SIGTERM. */
    handoverWaitSeconds: seconds(30),
    /** Under SIGTERM: covers a block of ours at the next level (6 s), and its attestation. */
    terminationWaitSeconds: seconds(10),
    gateDrainSeconds: seconds(2),
    noncePushSeconds: seconds(2),
    preStopSeconds: seconds(18),
    /** Gate: budget of a request from its digest's first arrival; the write of a mark; one signer. */
    gateBudgetMs: milliseconds(3500),
    markWriteMs: milliseconds(700),
    signerTimeoutMs: milliseconds(2000),
    /** A head older than this is no reference for a plausible level (S6). */
    headFreshSeconds: seconds(60),
    /** Sole baker on a halted chain: when rounds above the recorded ones open at the floor level. */
    floorPassSeconds: seconds(120),
    nonceAckSeconds: seconds(2),
    lockHoldMs: milliseconds(100),
    importerKillMs: milliseconds(1000),
  })
  .check(
    z.superRefine((t, context) => {
      const issue = (path: string, message: string) => context.addIssue({ code: "custom", path: [path], message });
      const renew = t.retrySeconds + (3 * t.requestTimeoutMs) / 1000;
      if (renew >= t.renewDeadlineSeconds)
        issue(
          "renewDeadlineSeconds",
          `renewDeadlineSeconds (${t.renewDeadlineSeconds}) must exceed retrySeconds + 3 x requestTimeoutMs (${renew})`,
        );
      const lease = t.renewDeadlineSeconds + (t.killMs + t.clockMarginMs) / 1000;
      if (lease >= t.leaseSeconds)
        issue(
          "leaseSeconds",
          `leaseSeconds (${t.leaseSeconds}) must exceed renewDeadlineSeconds + killMs + clockMarginMs (${lease})`,
        );
      if (t.memberMaxAgeSeconds <= t.memberRenewSeconds)
        issue(
          "memberMaxAgeSeconds",
          `memberMaxAgeSeconds (${t.memberMaxAgeSeconds}) must exceed memberRenewSeconds (${t.memberRenewSeconds})`,
        );
      if (t.markWriteMs + t.signerTimeoutMs >= t.gateBudgetMs)
        issue(
          "gateBudgetMs",
          `gateBudgetMs (${t.gateBudgetMs}) must exceed markWriteMs + signerTimeoutMs (${t.markWriteMs + t.signerTimeoutMs})`,
        );
      if (t.voluntaryHandoverMaxSeconds < t.voluntaryHandoverSeconds)
        issue(
          "voluntaryHandoverMaxSeconds",
          `voluntaryHandoverMaxSeconds (${t.voluntaryHandoverMaxSeconds}) must not be below voluntaryHandoverSeconds (${t.voluntaryHandoverSeconds})`,
        );
    }),
  );
export type Timings = z.infer<typeof timingsSchema>;
export const defaultTimings: Timings = timingsSchema.parse({});
