/** What rules look at: the values as written, before the schema has accepted them, and what follows from them. */
import type { ConfigurationIssue } from "../errors";

export type Values = Readonly<Record<string, unknown>>;
export const isMap = (value: unknown): value is Values =>
  typeof value === "object" && value !== null && !Array.isArray(value);
export const map = (value: unknown): Values => (isMap(value) ? value : {});
export const text = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);
export const texts = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((item) => typeof item === "string") : [];
export const given = (value: unknown): boolean => value !== undefined && value !== null;

export interface BakerFacts {
  readonly name: string;
  readonly baker: Values;
  readonly path: readonly string[];
}

/** What a baker's list holds, each with its place; nothing where it is no list. */
export const listed = ({ baker, path }: BakerFacts, field: string): { key: unknown; at: readonly string[] }[] => {
  const value = baker[field];
  return Array.isArray(value) ? value.map((key: unknown, i) => ({ key, at: [...path, field, String(i)] })) : [];
};

export interface Facts {
  /** Merged top-level keys without `secrets`. */
  readonly values: Values;
  readonly flag: boolean;
  /** The cluster is not ours. */
  readonly existing: boolean;
  readonly region: unknown;
  /** As written, or the default. */
  readonly zones: readonly string[];
  readonly bakers: readonly BakerFacts[];
}

export function factsOf(values: Values): Facts {
  const existing = isMap(map(values.cluster).existing);
  const region = values.region ?? defaultRegion;
  return {
    values,
    flag: values.experimental_active_standby_mode === true,
    existing,
    region,
    zones: given(values.zones)
      ? texts(values.zones)
      : existing
        ? []
        : ["b", "c"].map((zone) => `${text(region) ?? defaultRegion}-${zone}`),
    bakers: Object.entries(map(values.bakers)).map(([name, baker]) => ({
      name,
      baker: map(baker),
      path: ["bakers", name],
    })),
  };
}
const defaultRegion = "us-central1";

export type Finding = ConfigurationIssue | { readonly warning: string };
/** Looks at what has the right type and stays silent about the rest, which the schema reports. */
export type Rule = (facts: Facts) => Finding[];
export type BakerRule = (baker: BakerFacts, facts: Facts) => Finding[];

export const issue = (path: readonly string[], found: string, write: string): Finding => ({ path, found, write });
/** The finding where the condition holds. */
export const when = (condition: boolean, ...finding: Parameters<typeof issue>): Finding[] =>
  condition ? [issue(...finding)] : [];
