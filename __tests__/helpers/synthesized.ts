/**
 * Synthesized stacks for tests, and assertions on their resources. cdktf's own matchers look at one level only and take
 * a camelCase key, which never matches, for a match of `.not`; here the keys are snake_case by type and everything
 * below is compared.
 */
import { Testing, type IResolvable, type TerraformStack } from "cdktf";
import { BakerStack } from "../../constructs/baker-stack";
import { configurationSchema, type Configuration } from "../../configuration/schema";
import { PlatformStack } from "../../constructs/platform-stack";

type SnakeCase<S extends string> = S extends `${infer Head}${infer Tail}`
  ? Tail extends Uncapitalize<Tail>
    ? `${Lowercase<Head>}${SnakeCase<Tail>}`
    : `${Lowercase<Head>}_${SnakeCase<Tail>}`
  : S;
/** A provider's configuration type as Terraform's JSON has it; every key is optional. Maps keep their keys. */
export type Snake<T> = T extends IResolvable
  ? never
  : T extends readonly (infer U)[]
    ? Snake<U>[]
    : T extends object
      ? string extends keyof T
        ? T
        : { [K in keyof T as K extends string ? SnakeCase<K> : never]?: Snake<T[K]> }
      : T;

export interface Synthesized {
  readonly json: string;
  readonly document: {
    readonly resource: Record<string, Record<string, Record<string, unknown>>>;
    readonly data?: Record<string, Record<string, Record<string, unknown>>>;
    readonly provider?: Record<string, Record<string, unknown>[]>;
    readonly output?: Record<string, { value: unknown }>;
    readonly variable?: Record<string, Record<string, unknown>>;
    readonly terraform: {
      backend: Record<string, Record<string, unknown>>;
      required_providers: Record<string, unknown>;
    };
  };
  readonly stack: TerraformStack;
}

function synthesized(stack: TerraformStack): Synthesized {
  stack.prepareStack();
  const json = Testing.synth(stack, true);
  return { json, document: JSON.parse(json) as Synthesized["document"], stack };
}

export const sshKey = `ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA${"I".repeat(44)} home1`;
export const delegates = ["tz1VSUr8wwNhLAzempoch5d6hLRiTh8Cjcjb", "tz1SE6WhcvDQmPcidqXQtBrcirUUjC8Rync2"] as const;
export const digest = `@sha256:${"0".repeat(64)}`;

type Input = Parameters<typeof configurationSchema.parse>[0] & object;
/** A baker with one remote signer on shadownet, and what a test wants otherwise. */
export const configurationWith = (changes: Input = {}): Configuration =>
  configurationSchema.parse({
    project: "my-baker-1234",
    network: "shadownet",
    state: { bucket: "my-state" },
    images: {
      runtime: `example.org/runtime${digest}`,
      baker: `example.org/baker${digest}`,
      signer_link: `example.org/signer-link${digest}`,
    },
    bakers: { alice: { delegate: delegates[0], signers: { home1: { ssh_public_key: sshKey, port: 8443 } } } },
    ...changes,
  });
/** One baker with these settings instead. */
export const bakerWith = (settings: object): Input => ({
  bakers: {
    alice: { delegate: delegates[0], signers: { home1: { ssh_public_key: sshKey, port: 8443 } }, ...settings },
  },
});

const cache = new Map<string, Synthesized>();
const cached = (key: string, make: () => Synthesized): Synthesized => {
  const known = cache.get(key);
  if (known) return known;
  const made = make();
  cache.set(key, made);
  return made;
};
export const platform = (changes?: Input): Synthesized =>
  cached(JSON.stringify(["platform", changes]), () =>
    synthesized(new PlatformStack(Testing.app(), "platform", { configuration: configurationWith(changes) })),
  );
/** @param experimentalActiveStandbyMode the flag */
export const baker = (experimentalActiveStandbyMode: boolean, changes?: Input): Synthesized =>
  cached(JSON.stringify(["baker", experimentalActiveStandbyMode, changes]), () =>
    synthesized(
      new BakerStack(Testing.app(), "baker", {
        configuration: configurationWith({
          ...changes,
          experimental_active_standby_mode: experimentalActiveStandbyMode,
        }),
        experimentalActiveStandbyMode,
      }),
    ),
  );

type ResourceClass<C> = { readonly tfResourceType: string; new (...args: [never, never, C]): object };

/** The attributes of one resource. @throws Error where it is not there */
export function resource<C>(from: Synthesized, type: ResourceClass<C>, id: string): Snake<C> {
  const found = from.document.resource[type.tfResourceType]?.[id];
  if (!found) throw new Error(`no ${type.tfResourceType}.${id}; there are ${ids(from, type).join(", ")}`);
  return found as Snake<C>;
}
export const ids = <C>(from: Synthesized, type: ResourceClass<C>): string[] =>
  Object.keys(from.document.resource[type.tfResourceType] ?? {});
/** Every resource's address, sorted. */
export const addresses = ({ document }: Synthesized): string[] =>
  Object.entries(document.resource)
    .flatMap(([type, resources]) => Object.keys(resources).map((id) => `${type}.${id}`))
    .sort();

/** Asserts that a resource has all of these attributes, at any depth. */
export const expectResource = <C>(from: Synthesized, type: ResourceClass<C>, id: string) => ({
  toHave: (attributes: Snake<C>): void => void expect(resource(from, type, id)).toMatchObject(attributes as object),
});

export interface SynthesizedContainer {
  readonly name: string;
  readonly image: string;
  readonly command: string[];
  readonly args: string[];
  readonly env: { name: string; value?: string; value_from?: { field_ref: { field_path: string } } }[];
  readonly port: { name: string; container_port: number }[];
  readonly volume_mount: { name: string; mount_path: string; read_only: boolean; sub_path?: string }[];
  readonly resources: { requests: Record<string, string>; limits: Record<string, string> };
  readonly security_context: Record<string, unknown>;
  readonly liveness_probe?: SynthesizedProbe;
  readonly readiness_probe?: SynthesizedProbe;
  readonly startup_probe?: SynthesizedProbe;
  readonly lifecycle?: { pre_stop: { http_get: { path: string; port: string } }[] };
}
export interface SynthesizedProbe {
  readonly http_get: { path: string; port: string };
  readonly period_seconds: number;
  readonly failure_threshold: number;
}
export interface SynthesizedPod {
  readonly container: SynthesizedContainer[];
  readonly init_container: SynthesizedContainer[];
  readonly volume: ({ name: string } & Record<string, unknown>)[];
  readonly [key: string]: unknown;
}
/** The pod of a StatefulSet or Deployment. */
export function pod(from: Synthesized, id: string, type = "kubernetes_stateful_set_v1"): SynthesizedPod {
  const found = from.document.resource[type]?.[id] as { spec: { template: { spec: SynthesizedPod } } } | undefined;
  if (!found)
    throw new Error(`no ${type}.${id}; there are ${Object.keys(from.document.resource[type] ?? {}).join(", ")}`);
  return found.spec.template.spec;
}
export function container(from: Synthesized, id: string, name: string): SynthesizedContainer {
  const { container: main, init_container: init } = pod(from, id);
  const found = [...init, ...main].find((candidate) => candidate.name === name);
  if (!found) throw new Error(`no container ${name} in ${id}`);
  return found;
}
