/**
 * The Kubernetes API as our daemons use it: single objects by name, conditional writes, one watch per object.
 * Implemented over node:https by kube-client.ts; served in tests and in the laboratory by lab/kube-api or by a real API
 * server.
 */
export interface ObjectMeta {
  name: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
}
export interface KubeObject {
  apiVersion: string;
  kind: string;
  metadata: ObjectMeta;
}
/** Times are MicroTime texts with exactly six fractional digits (microTime()). */
export interface Lease extends KubeObject {
  spec: {
    holderIdentity?: string;
    leaseDurationSeconds?: number;
    acquireTime?: string;
    renewTime?: string;
    leaseTransitions?: number;
  };
}
export interface ConfigMap extends KubeObject {
  data?: Record<string, string>;
}
export interface Pod extends KubeObject {
  status?: { phase?: string; podIP?: string };
  spec?: { nodeName?: string };
}
export interface Kinds {
  leases: Lease;
  configmaps: ConfigMap;
  pods: Pod;
}
export type Resource = keyof Kinds;

export type FailureKind =
  | "not-found"
  | "conflict"
  | "already-exists"
  | "forbidden"
  | "unauthorized"
  | "invalid"
  | "too-many-requests"
  | "gone"
  | "server"
  | "timeout"
  | "network"
  /** An answer that is no object of the kind that was asked for. */
  | "malformed"
  | "aborted";

export type Outcome<T> =
  | { ok: true; object: T; sentAtMs: number }
  | {
      ok: false;
      kind: FailureKind;
      /**
       * True where a write may have happened all the same (time-out, cut, 5xx after sending): read before deciding
       * again.
       */
      unknown: boolean;
      status: number;
      message: string;
      retryAfterMs?: number;
      sentAtMs: number;
    };

/** `sentAtMs` is Clock.now() right before the request was handed to the socket. */
export interface RequestOptions {
  timeoutMs: number;
  /**
   * For `replace`. A write that was not answered within so many milliseconds is lost on its way, or the API is slow. A
   * read of the object over a connection of its own tells which: where it is answered before the write, and leaves time
   * for one more read and write, the write ends as timed out at once. Otherwise the write has all of `timeoutMs`.
   */
  doubtMs?: number;
  signal?: AbortSignal;
}

export type WatchEvent<T> = { type: "ADDED" | "MODIFIED" | "DELETED"; object: T };

export interface KubeEvent {
  type: "Normal" | "Warning";
  reason: string;
  message: string;
  regarding: { kind: string; name: string; uid?: string; apiVersion: string };
}

export interface KubeClient {
  /** A consistent read: no resourceVersion parameter. */
  get<R extends Resource>(resource: R, name: string, options: RequestOptions): Promise<Outcome<Kinds[R]>>;
  create<R extends Resource>(resource: R, object: Kinds[R], options: RequestOptions): Promise<Outcome<Kinds[R]>>;
  /**
   * Conditional PUT of a whole object that the API returned before. One request, never repeated by the client.
   * @throws Error before anything is sent where metadata.uid or metadata.resourceVersion is empty: such a PUT would
   * succeed unconditionally, or create
   */
  replace<R extends Resource>(resource: R, object: Kinds[R], options: RequestOptions): Promise<Outcome<Kinds[R]>>;
  /**
   * Follows one object until `signal` aborts: resumes with the last resourceVersion, starts anew (a list of that one
   * name, delivered as MODIFIED or DELETED; the Role needs list and watch for it) after 410, after `idleMs` of silence
   * and after errors with backoff. Delivery is for speed only; callers poll for safety.
   */
  watch<R extends Resource>(
    resource: R,
    name: string,
    onEvent: (event: WatchEvent<Kinds[R]>) => void,
    options: { signal: AbortSignal; idleMs?: number },
  ): Promise<void>;
  /** Posts a Kubernetes Event about an object of this namespace; best effort, bounded, never throws. */
  emitEvent(event: KubeEvent): Promise<void>;
  close(): void;
}

/** RFC 3339 in whole seconds, as Kubernetes and Octez tell times. */
export function secondsTime(wallMs: number): string {
  return new Date(wallMs).toISOString().replace(/\.\d+Z$/, "Z");
}

/** RFC 3339 with exactly six fractional digits, as the Lease API demands. */
export function microTime(wallMs: number): string {
  return new Date(wallMs).toISOString().replace(/\.(\d{3})Z$/, ".$1000Z");
}
