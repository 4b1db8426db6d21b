/** The schema as data: for error messages, for Terraform's variables and for the generated reference. */
import { type z } from "zod";
import { configurationSchema, secretsSchema } from "./schema";

/** One key of the configuration. */
export interface KeyInfo {
  /** What Terraform calls it: text, number, true or false, one of ..., list of ..., map of ... */
  type: string;
  required: boolean;
  /** Absent where there is none, or where it consists of the children's defaults. */
  default?: unknown;
  description: string;
  /** Keys of an object. */
  children?: Readonly<Record<string, KeyInfo>>;
  /** Values of a map with free names. */
  values?: KeyInfo;
}

/** What we read of a zod schema. */
interface Definition {
  type: string;
  innerType?: z.ZodType;
  in?: z.ZodType;
  shape?: Record<string, z.ZodType>;
  valueType?: z.ZodType;
  element?: z.ZodType;
  entries?: Record<string, string>;
  defaultValue?: unknown;
}

/** @throws Error for a zod type that this program does not use yet */
export function describeSchema(schema: z.ZodType): KeyInfo {
  const definition = schema.def as unknown as Definition;
  const description = schema.description ?? "";
  const inner = (type: z.ZodType | undefined): KeyInfo => {
    if (!type) throw new Error(`a ${definition.type} schema without an inner type`);
    const info = describeSchema(type);
    return { ...info, description: description || info.description };
  };
  const plain = (type: string): KeyInfo => ({ type, required: true, description });
  switch (definition.type) {
    case "optional":
    case "prefault":
      return { ...inner(definition.innerType), required: false };
    case "default":
      return { ...inner(definition.innerType), required: false, default: definition.defaultValue };
    case "readonly":
      return inner(definition.innerType);
    case "pipe":
      return inner(definition.in);
    case "string":
      return plain("text");
    case "number":
      return plain("number");
    case "boolean":
      return plain("true or false");
    case "enum":
      return plain(
        Object.values(definition.entries ?? {})
          .map((value) => `"${value}"`)
          .join(" or "),
      );
    case "array":
      return plain(`list of ${inner(definition.element).type}`);
    case "record": {
      const values = inner(definition.valueType);
      return { ...plain(values.children ? "map" : `map of ${values.type}`), values };
    }
    case "object":
      return {
        ...plain("object"),
        children: Object.fromEntries(
          Object.entries(definition.shape ?? {}).map(([key, type]) => [key, describeSchema(type)]),
        ),
      };
    default:
      throw new Error(`describeSchema knows no zod type "${definition.type}"; add it`);
  }
}

const top = describeSchema(configurationSchema).children ?? {};
const secrets = describeSchema(secretsSchema);

/** Top-level keys with what is known of them; without `secrets`. */
export const configurationKeys: Readonly<Record<string, KeyInfo>> = top;
export const secretKeys: Readonly<Record<string, KeyInfo>> = secrets.children ?? {};

/** Every variable of a tfvars file. */
export const variableNames: readonly string[] = [...Object.keys(top), "secrets"];

/** Terraform's type of a variable: texts, numbers and truth values by name, everything with parts as `any`. */
export function terraformType(name: string): "string" | "number" | "bool" | "any" {
  const type = top[name]?.type ?? "object";
  if (type === "text" || type.startsWith('"')) return "string";
  return type === "number" ? "number" : type === "true or false" ? "bool" : "any";
}

/** Keys that an object or map has at a path, for instance at bakers.alice; empty where names are free. */
export function knownKeys(path: readonly PropertyKey[]): string[] {
  let info: KeyInfo | undefined =
    path[0] === "secrets" ? secrets : { type: "object", required: true, description: "", children: top };
  for (const key of path[0] === "secrets" ? path.slice(1) : path)
    info = info?.children ? info.children[String(key)] : info?.values;
  return Object.keys(info?.children ?? {});
}
