/** What the elector tells the other containers of its pod: `GET /leadership` and its stream. */
import * as z from "zod/mini";

export const leadershipStates = ["standby", "acquiring", "active", "handing-over", "lost"] as const;
export type LeadershipState = (typeof leadershipStates)[number];

/**
 * Commands are levels, not events: whoever reads the newest record knows what to do.
 * A reader acts as if `gate` were "shut" and `daemons` "stop" as soon as CLOCK_MONOTONIC passes `validUntilNs`,
 * and when it has no record at all. A dropped stream changes nothing before that moment.
 */
export const leadershipSchema = z.object({
  /** Pod name of the holder as far as known, "" where nobody holds. Not necessarily this pod. */
  holder: z.string(),
  /** holderIdentity of the holder. */
  holderIdentity: z.string(),
  /** This pod's own identity. The reader compares it with its own. */
  self: z.string(),
  leaseUid: z.string(),
  /** leaseTransitions of the holder's tenure. */
  epoch: z.int().check(z.nonnegative()),
  state: z.enum(leadershipStates),
  reason: z.string(),
  /**
   * Absolute CLOCK_MONOTONIC nanoseconds, decimal text (2^53 ns are only 104 days); "0" where this pod does not hold.
   */
  validUntilNs: z.string().check(z.regex(/^\d+$/)),
  /** "open" only while this pod holds and may sign. */
  gate: z.enum(["open", "shut"]),
  /**
   * "run" only while this pod holds. "stop" in state handing-over is planned (SIGTERM, grace); in every other state at
   * once (SIGKILL).
   */
  daemons: z.enum(["run", "stop"]),
  /** "final": daemons have stopped, push the nonce files now and report when acknowledged. */
  nonces: z.enum(["follow", "final"]),
});
export type Leadership = z.infer<typeof leadershipSchema>;

/**
 * Paths of the elector (port 4040 on the pod address):
 * `GET /` -> {"name": "<holder pod>"}; `GET /leadership` -> Leadership; `?watch=true` -> one JSON line per change (each
 * renewal is one); `GET /members` -> MemberRecord[] as last seen. On the preStop port, which no network policy opens:
 * `GET /handed-over` starts a planned handover and answers when it is done, or after preStopSeconds.
 */
export const electorPaths = {
  root: "/",
  leadership: "/leadership",
  members: "/members",
  handedOver: "/handed-over",
} as const;
