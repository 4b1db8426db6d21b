/** Ids and protection of what a stack declares. */
import type { TerraformElement, TerraformResourceLifecycle } from "cdktf";
import { labels, partOf } from "../contract/names";

/**
 * Fixes an element's address in Terraform's state, for instance `kubernetes_stateful_set_v1.alice_as`. Ids are a
 * contract: a changed one destroys and creates. Names hold no "_", which therefore separates them without doubt.
 */
export function pin<T extends TerraformElement>(element: T, ...words: readonly string[]): T {
  element.overrideLogicalId(words.join("_"));
  return element;
}

/** Lifecycle of what holds state; Terraform wants a literal here. */
export const protect = (deletionProtection: boolean, ignoreChanges?: string[]): TerraformResourceLifecycle => ({
  preventDestroy: deletionProtection,
  ...(ignoreChanges ? { ignoreChanges } : {}),
});

export type Component = "baking-pod" | "signer-link" | "hot-signer" | "cloud-signer";
/** Labels by which pods of a component of a baker are selected. */
export const selectorLabels = (baker: string, component: Component): Record<string, string> => ({
  [labels.baker]: baker,
  [labels.component]: component,
});
/** Labels of every Kubernetes object of ours. */
export const objectLabels = (more: Readonly<Record<string, string>> = {}): Record<string, string> => ({
  [labels.partOf]: partOf,
  [labels.managedBy]: "terraform",
  ...more,
});

/**
 * Runs `declare` without the stack trace that cdktf captures for each computed attribute of each resource: they take a
 * third of the time and of the memory of a synthesis, and no message of ours shows them. An error's own trace does not
 * come from there.
 */
export function withoutCreationTraces(declare: () => void): void {
  const capture = Error.captureStackTrace;
  Error.captureStackTrace = () => undefined;
  try {
    declare();
  } finally {
    Error.captureStackTrace = capture;
  }
}
