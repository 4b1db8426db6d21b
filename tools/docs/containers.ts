/** docs/containers.md from the table of containers. */
import { bakingContainers, type ContainerRow, type Listener, signerContainers } from "../../contract/containers";
import { type GeneratedDocument } from "../docs";

const runs: Readonly<Record<ContainerRow["runs"], string>> = {
  init: "before the others",
  always: "always",
  "active-standby": "with experimental_active_standby_mode",
  dal: "where `dal.enabled`",
  accuser: "where `accuser`",
  "signer-link": "tunnel pod of `signers`",
  "hot-signer": "signer pod of `hot_test_key`",
  "cloud-signer": "signer pod of `cloud_key`",
};
const openTo: Readonly<Record<NonNullable<Listener["openTo"]>, string>> = {
  monitoring: "monitoring namespaces",
  members: "pods of the same baker, monitoring namespaces",
  "baking-pods": "baking pods of the same baker",
  everybody: "everybody",
};
const opened = (listener: Listener): string =>
  listener.openTo ? openTo[listener.openTo] : listener.name === undefined ? "nobody: loopback only" : "nobody";

const containerRows = (table: Readonly<Record<string, ContainerRow>>): string[] =>
  Object.values(table).map(({ name, image, daemon, runs: when }) =>
    ["", name, image, daemon ?? "", runs[when], ""].join(" | ").trim(),
  );
const portRows = (table: Readonly<Record<string, ContainerRow>>): string[] =>
  Object.values(table).flatMap(({ name, listens }) =>
    Object.values(listens).map((listener) =>
      [
        "",
        listener.name === undefined ? `${listener.port}, loopback` : String(listener.port),
        name,
        listener.calledBy,
        listener.purpose,
        opened(listener),
        "",
      ]
        .join(" | ")
        .trim(),
    ),
  );

export const document: GeneratedDocument = {
  file: "docs/containers.md",
  render: () =>
    [
      "# Containers, and who calls whom",
      "",
      "Generated from `contract/containers.ts` by `npm run docs`; a test fails when it is stale.",
      "",
      "## Containers",
      "",
      "The containers of a baking pod in their order, then those of the signers' pods.",
      "",
      "| container | image | our program | runs |",
      "| --- | --- | --- | --- |",
      ...containerRows(bakingContainers),
      ...containerRows(signerContainers),
      "",
      "## Ports",
      "",
      "By default a namespace policy denies all traffic. The policies in `constructs/baker/baker-network-policies.ts` open what the last column says.",
      "Containers of one pod always reach each other, since a policy applies to a pod and not to a container. A node always reaches its own pods,",
      "which is how the kubelet calls probes.",
      "",
      "| port | served by | called by | for | opened to |",
      "| --- | --- | --- | --- | --- |",
      ...portRows(bakingContainers),
      ...portRows(signerContainers),
      "",
    ].join("\n"),
};
