/** What the API server's audit log tells about the tokens of the pods. */
import { appendFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { watermarkName } from "../../../contract/names";
import { noMarks } from "../../../contract/watermark";
import { cases, plannedCases } from "../../../lab/nodes/cases";
import { ClusterRecord } from "../../../lab/nodes/record";
import type { TraceLine } from "../../../lab/trace";
import { encodeBase58, expectBase58 } from "../../../tezos/base58";
import { encodeVoteRequest } from "../../../tezos/signing-request";

const chain = "NetXdQprcVkpaWU";
const address = encodeBase58("tz1", new Uint8Array(20).fill(1));

let folder: string;
let record: ClusterRecord;
const log = () => join(folder, "audit.log");
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "record-"));
  record = new ClusterRecord(log(), "alice", [address], new Set());
});
afterEach(() => {
  record.stop();
  rmSync(folder, { recursive: true });
});
/** As Kubernetes 1.36.3 writes it. */
function wrote(pod: string, resource: string, token: string | undefined, code = 200, more: object = {}): void {
  const extra = {
    "authentication.kubernetes.io/credential-id": [`JTI=${token}`],
    "authentication.kubernetes.io/pod-name": [pod],
  };
  const user = { username: "system:serviceaccount:bakery:alice-as", ...(token === undefined ? {} : { extra }) };
  const times = { requestReceivedTimestamp: "2026-11-28T13:58:00.1Z", stageTimestamp: "2026-11-28T13:58:00.2Z" };
  const line = { verb: "update", requestURI: "/", ...times, user, objectRef: { resource, name: "x" }, ...more };
  appendFileSync(log(), `${JSON.stringify({ ...line, responseStatus: { code } })}\n`);
  record.follow();
}

test("the token with which a pod last wrote each kind of object", () => {
  wrote("alice-as-0", "leases", "a");
  wrote("alice-as-1", "leases", "b");
  wrote("alice-as-0", "leases", "c");
  wrote("alice-as-0", "leases", "d", 409);
  expect(record.tokenOf("alice-as-0", "leases")).toBe("JTI=c");
  expect(record.tokenOf("alice-as-1", "leases")).toBe("JTI=b");
  expect(record.tokenOf("alice-as-0", "configmaps")).toBeUndefined();
});
test("writes whose token was refused are counted", () => {
  wrote("alice-as-0", "leases", undefined, 401);
  wrote("alice-as-0", "leases", undefined, 403);
  expect(record.unauthorized).toBe(1);
});

test.each([
  [100, ["opened-at-signed-level"]],
  [101, []],
])("a tenure that opens above level %i, where a pod without a gate has signed at 101: %j", (floor, violations) => {
  const vote = { chainId: expectBase58("chainId", chain), level: 101, round: 0, tag: 21 as const };
  const bytes = encodeVoteRequest({ ...vote, payloadHash: new Uint8Array(32) });
  const signature = { at: 0, signer: "home1", address, bytes: Buffer.from(bytes).toString("hex"), signature: "sig" };
  record.onTrace({ ...signature, role: "octez-signer", event: "signature" } as unknown as TraceLine);
  const raised = { version: 1, baker: "alice", chain, epoch: 1, holder: "b", floor, marks: noMarks, unfenced: false };
  const object = { metadata: { uid: "u" }, data: { watermark: JSON.stringify(raised) } };
  wrote("alice-as-0", "configmaps", "a", 200, {
    objectRef: { resource: "configmaps", name: watermarkName(address) },
    responseObject: object,
  });
  expect(record.verdict(0, false).map(({ code }) => code)).toEqual(violations);
});

test("planned handovers come as often at each phase of a block, by both ways, and have names of their own", () => {
  const planned = plannedCases(4);
  const phases = new Set(planned.map(({ atSeconds }) => atSeconds));
  expect(phases.size).toBeGreaterThanOrEqual(6);
  for (const at of phases) {
    const these = planned.filter(({ atSeconds }) => atSeconds === at).map(({ name }) => name.split("-")[0]);
    expect(these.sort()).toEqual(["delete", "delete", "switchover", "switchover"]);
  }
  for (const list of [planned, cases]) expect(new Set(list.map(({ name }) => name)).size).toBe(list.length);
});
