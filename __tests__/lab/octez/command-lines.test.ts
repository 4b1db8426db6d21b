/** What the sandbox asks of the programs, against what Octez 25.1 showed of itself. */
import * as commandLines from "../../../lab/octez/command-lines";
import { protocol, sandboxChainId, sandboxConstants, sandboxParameters } from "../../../lab/octez/parameters";
import { sandboxStack } from "../../../lab/octez/sandbox-stack";
import { synthesize } from "../../../lab/synth";
import { defaultTimings } from "../../../contract/timings";
import { bodyOf, recordedJson, type Exchange } from "../../helpers/octez-recordings";

const client = { folder: "/client", node: "http://127.0.0.1:8732" };
const helpOf = (name: string): string => recordedJson<{ stdout: string }>(`command-lines/${name}.json`).stdout;
const optionsOf = (help: string): Set<string> =>
  new Set([...help.matchAll(/(?<=^| |\[)(--?[a-zA-Z][a-z-]*)/gm)].map(([option]) => option));
const answer = (name: string): unknown =>
  JSON.parse(bodyOf(recordedJson<Exchange>(`octez-node/${name}.json`).response)) as unknown;

test.each([
  ["octez-baker", helpOf("man-run"), commandLines.bakerRun(client, "/node", ["other1"])],
  ["octez-accuser", helpOf("accuser-help"), commandLines.accuserRun(client)],
] as const)("%s knows every option, and the command as its manual has it", (_program, help, words) => {
  const known = optionsOf(help);
  expect(words.filter((word) => word.startsWith("-")).filter((option) => !known.has(option))).toEqual([]);
  const command = words.slice(4).join(" ").replace("/node other1", "<node_data_path> [<baker>...]");
  expect(help).toContain(`\n  ${command.split(" --")[0]}`);
});
test("its own options come before the command, and none twice", () => {
  for (const words of [
    commandLines.bakerRun(client, "/node", ["other1"]),
    commandLines.setKey(client, "companion", "delegate", "companion"),
    commandLines.nodeConfig("/node", { rpc: "127.0.0.1:8732", p2p: "127.0.0.1:9732" }),
  ]) {
    const options = words.filter((word) => /^--?[a-zA-Z]/.test(word));
    expect(new Set(options).size).toBe(options.length);
  }
  expect(commandLines.setKey(client, "companion", "delegate", "next").join(" ")).toBe(
    "-d /client -E http://127.0.0.1:8732 set companion key for delegate to next",
  );
  expect(commandLines.activate(client, protocol, "/parameters.json").slice(4).join(" ")).toBe(
    `activate protocol ${protocol} with fitness 1 and key activator and parameters /parameters.json`,
  );
});

describe("the parameters of the activation", () => {
  const constants = sandboxConstants({ blockSeconds: 2, blocksPerCycle: 16, blocksPerCommitment: 4 });
  /** What no activation sets: the protocol's own, and what it derives. */
  const fixed = [
    ...["proof_of_work_nonce_size", "nonce_length", "max_anon_ops_per_block", "max_operation_data_length"],
    ...["max_proposals_per_delegate", "max_micheline_node_count", "max_micheline_bytes_limit"],
    ...["max_allowed_global_constants_depth", "cache_layout_size", "michelson_maximum_type_size"],
    ...["denunciation_period", "slashing_delay", "smart_rollup_max_wrapped_proof_binary_size"],
    ...["smart_rollup_message_size_limit", "smart_rollup_max_number_of_messages_per_level"],
    ...["issuance_modification_delay", "consensus_key_activation_delay", "unstake_finalization_delay"],
  ];
  test("are the constants of the recorded sandbox, each of them and no other", () => {
    const recorded = Object.entries(answer("015-constants") as Record<string, unknown>);
    expect(constants).toEqual(Object.fromEntries(recorded.filter(([name]) => !fixed.includes(name))));
  });
  test("and the delegates, one as rich as the other: four of five are a quorum", () => {
    const { bootstrap_accounts: accounts } = sandboxParameters(["a", "b", "c", "d", "e"], {
      ...{ blockSeconds: 1, blocksPerCycle: 16, blocksPerCommitment: 2 },
    });
    expect(accounts.map(([key]) => key)).toEqual(["a", "b", "c", "d", "e"]);
    expect(new Set(accounts.map(([, balance]) => balance)).size).toBe(1);
    expect((4 / 5) * constants.consensus_committee_size).toBeGreaterThan(1.1 * constants.consensus_threshold_size);
    expect(BigInt(accounts[0]?.[1] ?? 0)).toBeGreaterThan(BigInt(constants.minimal_stake));
  });
  test("protocol and chain are those of the recording", () => {
    expect(answer("002-header-head")).toMatchObject({ protocol, chain_id: sandboxChainId });
  });
});

test("the pods of the synthesized stack are those of the sandbox: its network, its chain, one peer, no snapshot", async () => {
  const options = { flag: true, timings: defaultTimings, headMaxAgeSeconds: 240, signers: "hot" as const };
  const before = (await synthesize(options)).stack;
  const after = sandboxStack(before);
  const [set] = after.workloads.filter(({ kind }) => kind === "StatefulSet");
  const argsOf = (name: string) => set?.template.init.find((init) => init.name === name)?.args;
  expect(argsOf("configure-node")?.join(" ")).toBe(
    "--network sandbox --history-mode rolling:20 --expected-pow 0 --rpc-addr $(TOG_LOCAL_ADDRESS):8732 " +
      "--allow-all-rpc $(TOG_LOCAL_ADDRESS):8732 --synchronisation-threshold 1 " +
      "--private-mode --no-bootstrap-peers --peer $(LAB_CHAIN)",
  );
  expect(argsOf("import-snapshot")).toEqual(["", ""]);
  const files = ({ configMaps }: typeof after) => configMaps.flatMap(({ data }) => data["baker.json"] ?? []);
  const parse = (text: string) => JSON.parse(text) as { network: { chainId: string } };
  const [now, then] = [files(after).map(parse), files(before).map(parse)];
  expect(now.map(({ network }) => network.chainId)).toEqual(now.map(() => sandboxChainId));
  expect(now.map((file) => ({ ...file, network: 0 }))).toEqual(then.map((file) => ({ ...file, network: 0 })));
  const rest = (stack: typeof after) =>
    stack.workloads.map((workload) => ({ ...workload, template: { ...workload.template, init: 0 } }));
  expect(rest(after)).toEqual(rest(before));
});
