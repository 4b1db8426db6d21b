/** Field and label selectors, as far as they are served. */
import { isJson, type ResourceType, type StoredObject } from "./objects";
import * as failure from "./status";

export type Selector = (object: StoredObject) => boolean;

/** `a=b`, `a==b`, `a!=b`, `a`, `!a`, comma separated; values by `read`. */
function selector(text: string | null, read: (object: StoredObject, field: string) => string | undefined): Selector {
  if (text === null || text === "") return () => true;
  const terms = text.split(",").map((term) => {
    const match = /^(!?)([^=!]+?)(?:(==|=|!=)(.*))?$/.exec(term.trim());
    if (!match) throw failure.badRequest(`unable to parse requirement: ${term}`);
    const [, not, field = "", operator, value = ""] = match;
    return (object: StoredObject): boolean => {
      const got = read(object, field);
      if (operator === undefined) return (got !== undefined) === (not === "");
      return operator === "!=" ? got !== value : got === value;
    };
  });
  return (object) => terms.every((term) => term(object));
}

export function selectorOf(type: ResourceType, query: URLSearchParams): Selector {
  const fields = selector(query.get("fieldSelector"), (object, field) => {
    if (field !== "metadata.name" && field !== "metadata.namespace" && !type.selectable.includes(field))
      throw failure.badRequest(`field label not supported: ${field}`);
    let value: unknown = object;
    for (const part of field.split(".")) value = isJson(value) ? value[part] : undefined;
    return typeof value === "string" ? value : "";
  });
  const labels = selector(query.get("labelSelector"), (object, label) => object.metadata.labels?.[label]);
  fields({
    kind: "",
    apiVersion: "",
    metadata: { name: "", namespace: "", uid: "", resourceVersion: "", creationTimestamp: "" },
  });
  return (object) => fields(object) && labels(object);
}
/** The name that a request of many objects is about; "" where it is about no single one. */
export const selectedName = (query: URLSearchParams): string =>
  /(?:^|,)metadata\.name==?([^,!=]+)/.exec(query.get("fieldSelector") ?? "")?.[1] ?? "";
