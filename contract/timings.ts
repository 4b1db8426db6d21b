/** Timings of one baker: one schema for the configuration, the constructs and the daemons. */
import * as z from "zod/mini";

/**
 * Lower bound, default, upper bound: a value outside is a mistake of an operator. Lower bounds leave room for
 * accelerated chains.
 */
const between = (least: number, value: number, most: number) =>
  z._default(z.number().check(z.minimum(least), z.maximum(most)), value);
const whole = (least: number, value: number, most: number) =>
  z._default(z.int().check(z.minimum(least), z.maximum(most)), value);

export const timingsSchema = z
  .strictObject({
    /** How long others wait after the last renewal that they saw. Whole seconds: the API takes no fractions. */
    leaseSeconds: whole(1, 6, 60),
    /** Counted from the send time of the last successful renewal; then the holder stops itself. */
    renewDeadlineSeconds: between(0.2, 5, 50),
    retrySeconds: between(0.05, 1, 10),
    requestTimeoutMs: between(50, 1000, 5000),
    /** Time that killing the daemons may take, and the allowance for clocks that tick differently. */
    killMs: between(20, 300, 5000),
    clockMarginMs: between(20, 500, 5000),
    stopGraceSeconds: between(0.1, 2, 30),
    memberRenewSeconds: between(0.1, 2, 10),
    memberMaxAgeSeconds: between(0.2, 6, 30),
    /** How long a master may be ineligible, or behind by `aheadLevels`, before it hands over. */
    ineligibleSeconds: between(0.2, 6, 600),
    aheadLevels: whole(1, 2, 100),
    lastResortSeconds: between(2, 60, 3600),
    voluntaryHandoverSeconds: between(1, 60, 3600),
    voluntaryHandoverMaxSeconds: between(1, 600, 86_400),
    /** How long a planned handover waits for a moment without a right; under SIGTERM. */
    handoverWaitSeconds: between(1, 30, 600),
    /** Under SIGTERM: covers a block of ours at the next level (6 s), and its attestation. */
    terminationWaitSeconds: between(0.2, 10, 30),
    gateDrainSeconds: between(0.1, 2, 10),
    noncePushSeconds: between(0.1, 2, 10),
    preStopSeconds: between(0.5, 18, 90),
    /**
     * Gate: budget of a request from its digest's first arrival; when an unanswered write of a mark may be lost on its
     * way; one signer.
     */
    gateBudgetMs: between(200, 3500, 10_000),
    markWriteMs: between(50, 700, 5000),
    signerTimeoutMs: between(100, 2000, 8000),
    /** A head older than this is no reference for a plausible level (S6); S5 and S6 allow 60 s and no more. */
    headFreshSeconds: between(5, 60, 60),
    /** Sole baker on a halted chain: when rounds above the recorded ones open at the floor level. */
    floorPassSeconds: between(20, 120, 3600),
    nonceAckSeconds: between(0.1, 2, 30),
    lockHoldMs: between(5, 100, 2000),
    importerKillMs: between(50, 1000, 10_000),
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
      const stop = t.terminationWaitSeconds + t.gateDrainSeconds + t.stopGraceSeconds + t.noncePushSeconds;
      if (t.preStopSeconds <= stop)
        issue(
          "preStopSeconds",
          `preStopSeconds (${t.preStopSeconds}) must exceed terminationWaitSeconds + gateDrainSeconds + stopGraceSeconds + noncePushSeconds (${stop})`,
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

/**
 * How long a request may take on which a tenure depends, in milliseconds: 2.4 s at the defaults. An API that answers
 * within it costs no tenure, because the next renewal is still answered before the deadline that the last one set; and
 * a request that is lost on its way leaves time for another.
 */
export const slowRequestMs = (t: Pick<Timings, "renewDeadlineSeconds" | "retrySeconds">): number =>
  600 * (t.renewDeadlineSeconds - t.retrySeconds);

/** The least and the most that a timing may be. */
export function timingBounds(name: keyof Timings): { least: number; most: number } {
  const checks = timingsSchema.shape[name].def.innerType.def.checks ?? [];
  const bound = (kind: string) =>
    Number(
      checks.map(({ _zod: { def } }) => def as { check: string; value?: number }).find(({ check }) => check === kind)
        ?.value,
    );
  return { least: bound("greater_than"), most: bound("less_than") };
}
