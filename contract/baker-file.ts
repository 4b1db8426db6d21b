/** The one JSON file of a baker: written by the constructs, read by every daemon. */
import * as z from "zod/mini";
import { decodeAddress } from "../tezos/addresses";
import { decodeBase58 } from "../tezos/base58";
import { bakerNamePattern, podName, watermarkName, watermarkNamePattern } from "./names";
import { timingsSchema } from "./timings";

const address = z.string().check(
  z.refine((text) => decodeAddress(text) !== undefined, {
    error: (issue) => `must be a tz1..tz4 address, got ${JSON.stringify(issue.input)}`,
  }),
);
const chainId = z.string().check(
  z.refine((text) => decodeBase58(text)?.kind === "chainId", {
    error: (issue) => `must be a chain id (Net...) with a valid checksum, got ${JSON.stringify(issue.input)}`,
  }),
);
const signerUrl = z.url({ protocol: /^(https?|tcp)$/ });

/** One way to a signer: through the tunnel of a zone, or an in-cluster service. */
export const signerEndpointSchema = z.strictObject({
  /** Zone of the tunnel, or null where it has none. */
  zone: z.nullable(z.string()),
  url: signerUrl,
});

export const signerSchema = z.strictObject({
  name: z.string().check(z.minLength(1)),
  endpoints: z.array(signerEndpointSchema).check(z.minLength(1)),
  /**
   * True where the same bytes always give the same signature: repeating a block is then safe (S7). Known to be false
   * for every tz3 key.
   */
  deterministic: z.boolean(),
});

export const bakerFileSchema = z
  .strictObject({
    version: z.literal(1),
    baker: z.string().check(z.regex(bakerNamePattern)),
    topology: z.enum(["solo", "active-standby"]),
    network: z.strictObject({ name: z.string(), chainId }),
    /** Number of pods of this topology; their names are podName(baker, topology, 0..members-1). */
    members: z.int().check(z.minimum(1), z.maximum(3)),
    /** Number of pods of the other topology that the topology guard looks for. */
    otherMembers: z.int().check(z.minimum(0), z.maximum(3)),
    headMaxAgeSeconds: z.number().check(z.positive()),
    /** Whether each pod has a DAL node. */
    dal: z.optional(z.boolean()),
    /** Command lines for the baker-supervisor; `$(TOG_...)` is expanded by it. */
    daemons: z
      .array(
        z.strictObject({ name: z.string().check(z.minLength(1)), command: z.array(z.string()).check(z.minLength(1)) }),
      )
      .check(z.minLength(1)),
    /** Delegate whose rights and rewards this baker is for. */
    delegate: address,
    /** Keys that sign consensus operations and blocks; `signers` in order of preference. */
    keys: z
      .array(
        z.strictObject({
          address,
          alias: z.string().check(z.minLength(1)),
          watermark: z.string().check(z.regex(watermarkNamePattern)),
          signers: z.array(z.string()).check(z.minLength(1)),
        }),
      )
      .check(z.minLength(1)),
    signers: z.array(signerSchema),
    timings: timingsSchema,
  })
  .check(
    z.superRefine((file, context) => {
      const issue = (path: (string | number)[], message: string) => context.addIssue({ code: "custom", path, message });
      const names = file.signers.map((signer) => signer.name);
      file.keys.forEach((key, i) =>
        key.signers
          .filter((name) => !names.includes(name))
          .forEach((name) =>
            issue(["keys", i, "signers"], `names a signer of this file (${names.join(", ")}), got "${name}"`),
          ),
      );
      const once = (path: string, values: readonly string[]): void => {
        const twice = values.filter((value, i, all) => all.indexOf(value) !== i);
        if (twice.length > 0) issue([path], `each once, got ${twice.join(", ")} twice`);
      };
      once(
        "keys",
        file.keys.map((key) => key.address),
      );
      once("signers", names);
      once(
        "daemons",
        file.daemons.map((daemon) => daemon.name),
      );
      file.keys.forEach(({ address: key, watermark }, i) => {
        if (watermark !== watermarkName(key))
          issue(["keys", i, "watermark"], `the watermark of ${key} is ${watermarkName(key)}, got ${watermark}`);
      });
      file.keys.forEach((key, i) => {
        const claims = file.signers.filter(({ name, deterministic }) => deterministic && key.signers.includes(name));
        if (key.address.startsWith("tz3") && claims.length > 0)
          issue(["keys", i, "signers"], `no signer of a tz3 key is deterministic, got ${claims[0]?.name}`);
      });
      if (file.topology === "solo" && file.members !== 1) issue(["members"], `solo has 1 member, got ${file.members}`);
      if (file.topology === "active-standby" && file.members < 2)
        issue(["members"], `active-standby has at least 2 members, got ${file.members}`);
    }),
  );
export type BakerFile = z.infer<typeof bakerFileSchema>;
export type Signer = z.infer<typeof signerSchema>;

/** Names of all pods of the file's topology, by ordinal. */
export const memberPods = (file: Pick<BakerFile, "baker" | "topology" | "members">): string[] =>
  Array.from({ length: file.members }, (_, i) => podName(file.baker, file.topology, i));
/** Names of the pods of the other topology. */
export const otherPods = (file: Pick<BakerFile, "baker" | "topology" | "otherMembers">): string[] =>
  Array.from({ length: file.otherMembers }, (_, i) =>
    podName(file.baker, file.topology === "solo" ? "active-standby" : "solo", i),
  );
/** Names of the ConfigMaps of its keys' watermarks, each once. */
export const watermarksOf = ({ keys }: Pick<BakerFile, "keys">): string[] => [
  ...new Set(keys.map((key) => key.watermark)),
];
