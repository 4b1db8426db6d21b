/** Terraform's blocks as JSON: synth writes a single block as an object, a plan as a list of one. */
export interface Block {
  [key: string]: unknown;
}
/** Resource type -> name -> its attributes: cdk.tf.json, or a state in the same form. */
export interface Stack {
  resource?: Record<string, Record<string, Block>>;
}
export type Stacks = Readonly<Record<string, Stack>>;

/** The one block, or an empty one. */
export const first = (value: unknown): Block =>
  (Array.isArray(value) ? (value[0] as Block | undefined) : (value as Block | undefined)) ?? {};
export const list = (value: unknown): Block[] =>
  Array.isArray(value) ? (value as Block[]) : value === undefined || value === null ? [] : [value as Block];
export const names = (value: unknown): string[] => list(value).map(({ name }) => String(name));
export const instances = (stack: Stack | undefined, type: string): Block[] =>
  Object.values(stack?.resource?.[type] ?? {});

/** A Kubernetes object that makes pods. */
export type Workload = Record<"metadata" | "spec", Block>;
export const workload = ({ metadata, spec }: Block): Workload => ({ metadata: first(metadata), spec: first(spec) });
export const workloads = (stack: Stack | undefined, type: string): Workload[] => instances(stack, type).map(workload);
/** The spec of its pods. */
export const podOf = ({ spec }: Workload): Block => first(first(spec.template).spec);
