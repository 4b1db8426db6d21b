/**
 * The least that any elector in Node.js can do while all is quiet: two leases renewed and watched, three status streams
 * read; no decision, no check. The elector's own cost is what it takes beyond this on the same machine.
 */
import { microTime } from "../../../daemons/runtime/kube";
import { bareHttp } from "./bare-http";

const [kubeUrl = "", kubeDir = "", namespace = "", ...streams] = process.argv.slice(2);
const { ask, follow } = bareHttp(kubeDir);
const leases = `${kubeUrl}/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`;

async function renew(name: string, everyMs: number): Promise<void> {
  const send = async (url: string, method: string, body: object) =>
    JSON.parse(await ask(url, method, JSON.stringify(body))) as { spec: Record<string, unknown> };
  let lease = await send(leases, "POST", {
    apiVersion: "coordination.k8s.io/v1",
    kind: "Lease",
    metadata: { name, namespace },
    spec: {},
  });
  follow(`${leases}?watch=true&fieldSelector=metadata.name%3D${name}`);
  setInterval(() => {
    const renewTime = microTime(Date.now());
    void send(`${leases}/${name}`, "PUT", { ...lease, spec: { ...lease.spec, renewTime } }).then(
      (next) => (lease = next),
    );
  }, everyMs);
}

streams.forEach(follow);
void Promise.all([renew("floor.leader", 1000), renew("floor.member", 2000)]);
