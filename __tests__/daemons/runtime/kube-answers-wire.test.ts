/** What API servers 1.20 and 1.36 answered, as the daemons read it. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { asObject, failureOf } from "../../../daemons/runtime/kube-answers";

interface Answer {
  status: number;
  body: { kind: string; reason?: string; details?: { name: string }; metadata: Record<string, unknown> };
}
function answers(version: string): { file: string; answer: Answer }[] {
  const folder = join(__dirname, "../../fixtures/wire", version);
  return readdirSync(folder).flatMap((file) => {
    const [head = "", body = ""] = readFileSync(join(folder, file), "utf8").replaceAll("\r\n", "\n").split("\n\n{");
    try {
      const answer = { status: Number(head.split(" ")[1]), body: JSON.parse(`{${body}`) as Answer["body"] };
      return [{ file, answer }];
    } catch {
      return [];
    }
  });
}

describe.each(["kube-1.20", "kube-1.36"])("%s", (version) => {
  const all = answers(version);
  const leases = all.filter(({ answer }) => answer.body.kind === "Lease");
  test("has what is to be read", () => expect([leases.length > 3, all.length > 12]).toEqual([true, true]));
  test.each(leases)("$file is a lease, and what is null in it is absent", ({ answer: { body } }) => {
    const read = asObject("leases", body, "default", String(body.metadata.name));
    expect(read).toHaveProperty("object");
    const { metadata } = (read as { object: { metadata: object } }).object;
    expect(Object.values(metadata)).not.toContain(null);
  });
  // An unknown path is no answer about an object.
  const refused = all.filter(({ file, answer }) => answer.status >= 400 && !file.includes("404-path"));
  test.each(refused)("$file is a failure of a known kind", ({ answer }) => {
    const { kind } = failureOf(answer.status, answer.body, answer.body.details?.name);
    expect(kind).not.toBe("malformed");
  });
});
