/** The API's failures: `metav1.Status`, with the texts of a 1.36 API server. */
export interface ResourceInfo {
  group: string;
  resource: string;
  kind: string;
}
export interface Cause {
  reason: string;
  message: string;
  field: string;
}
export interface Status {
  kind: "Status";
  apiVersion: "v1";
  metadata: Record<string, never>;
  status: "Success" | "Failure";
  message?: string;
  reason?: string;
  details?: {
    name?: string;
    group?: string;
    kind?: string;
    uid?: string;
    causes?: Cause[];
    retryAfterSeconds?: number;
  };
  code?: number;
}

/** Thrown by the store and the server, answered as its Status. */
export class ApiError extends Error {
  constructor(
    readonly code: number,
    readonly reason: string,
    message: string,
    readonly details?: Status["details"],
  ) {
    super(message);
  }
  status(): Status {
    return {
      kind: "Status",
      apiVersion: "v1",
      metadata: {},
      status: "Failure",
      message: this.message,
      reason: this.reason,
      ...(this.details === undefined ? {} : { details: this.details }),
      code: this.code,
    };
  }
}

const qualified = (plural: string, group: string): string => (group === "" ? plural : `${plural}.${group}`);
const details = (name: string, group: string, kind: string) => ({ name, ...(group === "" ? {} : { group }), kind });

export const notFound = (r: ResourceInfo, name: string): ApiError =>
  new ApiError(
    404,
    "NotFound",
    `${qualified(r.resource, r.group)} "${name}" not found`,
    details(name, r.group, r.resource),
  );
export const noSuchPath = (): ApiError =>
  new ApiError(404, "NotFound", "the server could not find the requested resource", {});
export const alreadyExists = (r: ResourceInfo, name: string): ApiError =>
  new ApiError(
    409,
    "AlreadyExists",
    `${qualified(r.resource, r.group)} "${name}" already exists`,
    details(name, r.group, r.resource),
  );
export const conflict = (r: ResourceInfo, name: string, why: string): ApiError =>
  new ApiError(
    409,
    "Conflict",
    `Operation cannot be fulfilled on ${qualified(r.resource, r.group)} "${name}": ${why}`,
    details(name, r.group, r.resource),
  );
export const modified = (r: ResourceInfo, name: string): ApiError =>
  conflict(r, name, "the object has been modified; please apply your changes to the latest version and try again");
export const wrongUid = (r: ResourceInfo, namespace: string, name: string, wanted: string, got: string): ApiError =>
  conflict(
    r,
    name,
    `StorageError: invalid object, Code: 4, Key: /registry/${r.resource}/${namespace}/${name}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: ${wanted}, UID in object meta: ${got}`,
  );
/** Validation of the object: named by its kind. */
export const invalid = (
  r: ResourceInfo,
  name: string,
  field: string,
  message: string,
  reason = "FieldValueInvalid",
): ApiError =>
  new ApiError(422, "Invalid", `${qualified(r.kind, r.group)} "${name}" is invalid: ${field}: ${message}`, {
    ...details(name, r.group, r.kind),
    causes: [{ reason, message, field }],
  });
/** Validation of the update: named by its resource. */
export const invalidUpdate = (r: ResourceInfo, name: string, field: string, message: string): ApiError =>
  new ApiError(422, "Invalid", `${qualified(r.resource, r.group)} "${name}" is invalid: ${field}: ${message}`, {
    ...details(name, r.group, r.resource),
    causes: [{ reason: "FieldValueInvalid", message, field }],
  });
export const badRequest = (message: string): ApiError => new ApiError(400, "BadRequest", message);
export const preconditionFailed = (r: ResourceInfo, name: string, why: string): ApiError =>
  new ApiError(
    409,
    "Conflict",
    `Operation cannot be fulfilled on ${qualified(r.kind, r.group)} "${name}": ${why}`,
    details(name, r.group, r.kind),
  );
export const unauthorized = (): ApiError => new ApiError(401, "Unauthorized", "Unauthorized");
export const forbidden = (r: ResourceInfo, name: string, user: string, verb: string, namespace: string): ApiError =>
  new ApiError(
    403,
    "Forbidden",
    `${qualified(r.resource, r.group)}${name === "" ? "" : ` "${name}"`} is forbidden: User "${user}" cannot ${verb} resource "${r.resource}" in API group "${r.group}" ${namespace === "" ? "at the cluster scope" : `in the namespace "${namespace}"`}`,
    { ...(name === "" ? {} : { name }), ...(r.group === "" ? {} : { group: r.group }), kind: r.resource },
  );
export const forbiddenPath = (path: string, user: string, verb: string): ApiError =>
  new ApiError(403, "Forbidden", `forbidden: User "${user}" cannot ${verb} path "${path}"`, {});
export const tooOld = (wanted: number, current: number): ApiError =>
  new ApiError(410, "Expired", `too old resource version: ${wanted} (${current})`);
export const listTooOld = (): ApiError =>
  new ApiError(410, "Expired", "The resourceVersion for the provided list is too old.");
export const timedOut = (): ApiError =>
  new ApiError(504, "Timeout", "Timeout: request did not complete within the allotted timeout", {});
