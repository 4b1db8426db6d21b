/**
 * A real API server in the place of the embedded one, behind a front with the same faults, audit and tokens by name.
 * Each token of a laboratory stands for one that the real API issued to that service account.
 */
import type { Execute } from "./exec";
import type { Fault, FaultHandle } from "./request-faults";
import { Front } from "./front";
import type { KubeApiOptions, Listening } from "./kube-api";
import type { Json, StoredObject } from "./objects";
import type { Role, RoleBinding } from "./rbac";
import { pathOf, UpstreamClient, type Upstream } from "./upstream-client";

type Awaitable<T> = T | Promise<T>;

/** What a laboratory needs of an API, embedded or real. */
export interface LabApi {
  start(options: { host?: string; port?: number; tls?: boolean; names?: readonly string[] }): Promise<Listening>;
  dispose(): Promise<void>;
  addRole(role: Role): Awaitable<void>;
  addRoleBinding(binding: RoleBinding): Awaitable<void>;
  addToken(token: string, user: { namespace: string; serviceAccount: string }, client?: string): Awaitable<void>;
  addAdmin(token: string, client?: string): Awaitable<void>;
  writeKubeDir(folder: string, token: string, namespace: string): void;
  kubeconfig(token: string, namespace: string): string;
  /** What an exec runs; without it there is no exec. */
  onExec: Execute | undefined;
  addFault(fault: Fault): FaultHandle;
  read(resource: string, namespace: string, name: string): Awaitable<StoredObject | undefined>;
  apply(resource: string, namespace: string, object: Json): Awaitable<StoredObject>;
  remove(resource: string, namespace: string, name: string): Awaitable<void>;
}

export class UpstreamKubeApi implements LabApi {
  private readonly client: UpstreamClient;
  private readonly front: Front;
  private readonly known = new Set<string>();

  constructor(
    options: KubeApiOptions,
    private readonly upstream: Upstream,
  ) {
    this.client = new UpstreamClient(upstream);
    this.front = new Front(options, this.client);
  }

  start(options: Parameters<LabApi["start"]>[0]): Promise<Listening> {
    return this.front.start(options);
  }
  async dispose(): Promise<void> {
    await this.front.dispose();
    this.client.close();
  }

  /** The namespace as the stack declares it. */
  private async prepare(namespace: string): Promise<void> {
    if (this.known.has(namespace)) return;
    const labels = { "pod-security.kubernetes.io/enforce": "restricted" };
    await this.client.admin(
      "POST",
      "/api/v1/namespaces",
      { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace, labels } },
      [201, 409],
    );
    await this.account(namespace, "default");
    this.known.add(namespace);
  }
  private account(namespace: string, name: string): Promise<Json> {
    const object = { apiVersion: "v1", kind: "ServiceAccount", metadata: { name, namespace } };
    return this.client.admin("POST", pathOf("serviceaccounts", namespace), object, [201, 409]);
  }
  private async put(resource: string, namespace: string, object: { metadata: { name?: string } }): Promise<void> {
    const name = object.metadata.name ?? "";
    await this.client.admin("DELETE", pathOf(resource, namespace, name), undefined, [200, 404]);
    await this.client.admin("POST", pathOf(resource, namespace), object, [201]);
  }
  async addRole({ metadata, rules }: Role): Promise<void> {
    const namespace = metadata.namespace ?? "default";
    await this.prepare(namespace);
    await this.put("roles", namespace, {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "Role",
      metadata,
      rules,
    } as never);
  }
  async addRoleBinding({ metadata, roleRef, subjects }: RoleBinding): Promise<void> {
    const namespace = metadata.namespace ?? "default";
    await this.prepare(namespace);
    for (const { kind, name } of subjects) if (kind === "ServiceAccount") await this.account(namespace, name);
    const object = {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "RoleBinding",
      metadata,
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", ...roleRef },
      subjects: subjects.map((subject) => ({ ...subject, namespace: subject.namespace ?? namespace })),
    };
    await this.put("rolebindings", namespace, object);
  }

  async addToken(token: string, user: { namespace: string; serviceAccount: string }, client?: string): Promise<void> {
    const name = `${user.namespace}:${user.serviceAccount}:${client ?? ""}`;
    this.front.realTokens.set(name, await this.upstream.serviceAccountToken(user.namespace, user.serviceAccount));
    this.front.addToken(token, { name, groups: [] }, client);
  }
  addAdmin(token: string, client?: string): void {
    this.front.addAdmin(token, client);
  }
  writeKubeDir(folder: string, token: string, namespace: string): void {
    this.front.writeKubeDir(folder, token, namespace);
  }
  kubeconfig(token: string, namespace: string): string {
    return this.front.kubeconfig(token, namespace);
  }
  set onExec(execute: Execute | undefined) {
    this.front.onExec = execute;
  }
  addFault(fault: Fault): FaultHandle {
    return this.front.addFault(fault);
  }

  async read(resource: string, namespace: string, name: string): Promise<StoredObject | undefined> {
    const found = await this.client.admin("GET", pathOf(resource, namespace, name), undefined, [200, 404]);
    return "metadata" in found ? (found as StoredObject) : undefined;
  }
  async apply(resource: string, namespace: string, object: Json): Promise<StoredObject> {
    // Queued at once: what is removed right after must not be made again.
    if (resource === "pods")
      return this.front.alone(`pods/${namespace}/${(object.metadata as { name: string }).name}`, () =>
        this.applyPod(namespace, object),
      );
    const { name, ...metadata } = object.metadata as { name: string; resourceVersion?: string; uid?: string };
    delete metadata.resourceVersion;
    delete metadata.uid;
    return this.front.alone(`${resource}/${namespace}/${name}`, async () => {
      await this.prepare(namespace);
      for (;;) {
        const existing = await this.read(resource, namespace, name);
        const resourceVersion = existing?.metadata.resourceVersion;
        const body = {
          ...object,
          metadata: { ...metadata, name, namespace, ...(existing ? { resourceVersion } : {}) },
        };
        const written = existing
          ? await this.client.admin("PUT", pathOf(resource, namespace, name), body, [200, 409])
          : await this.client.admin("POST", pathOf(resource, namespace), body, [201, 409]);
        if (!("metadata" in written)) continue;
        this.front.tell(resource, namespace, written as StoredObject, "");
        return written as StoredObject;
      }
    });
  }
  /** A pod that no kubelet runs: whoever calls this plays it. The API gives it a uid of its own. */
  private async applyPod(namespace: string, object: Json): Promise<StoredObject> {
    await this.prepare(namespace);
    const { metadata, spec, status } = object as { metadata: Json; spec?: Json; status?: Json };
    const { name, labels, deletionTimestamp } = metadata as { name: string; labels?: Json; deletionTimestamp?: string };
    const security = { runAsNonRoot: true, runAsUser: 1000, seccompProfile: { type: "RuntimeDefault" } };
    const restricted = { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } };
    const pod = {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name, namespace, labels },
      spec: {
        ...spec,
        automountServiceAccountToken: false,
        securityContext: security,
        containers: [{ name: "laboratory", image: "laboratory", securityContext: restricted }],
      },
    };
    const path = pathOf("pods", namespace, name);
    await this.client.admin("POST", pathOf("pods", namespace), pod, [201, 409]);
    if (deletionTimestamp !== undefined)
      await this.client.admin("DELETE", `${path}?gracePeriodSeconds=300`, undefined, [200, 202, 404]);
    for (;;) {
      const existing = await this.read("pods", namespace, name);
      if (!existing) return object as StoredObject;
      // What the API validates is left to it; the rest is what the laboratory tells of its processes.
      const { phase, podIP, conditions } = (status ?? {}) as { phase?: string; podIP?: string; conditions?: Json[] };
      const told = { phase, conditions, ...(podIP === undefined ? {} : { podIP, podIPs: [{ ip: podIP }] }) };
      const written = await this.client.admin("PUT", `${path}/status`, { ...existing, status: told }, [200, 409, 404]);
      if ("metadata" in written) return written as StoredObject;
    }
  }
  async remove(resource: string, namespace: string, name: string): Promise<void> {
    const path = pathOf(resource, namespace, name);
    await this.front.alone(`${resource}/${namespace}/${name}`, async () => {
      await this.client.admin("DELETE", `${path}?gracePeriodSeconds=0`, undefined, [200, 202, 404]);
      if (resource !== "pods") await this.front.lookUp(resource, namespace, name, "");
    });
  }
}
