/** The embedded Kubernetes API with tokens, and kube folders for clients, for tests. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KubeApi, type KubeApiOptions, type PolicyRule } from "../../lab/kube-api";

export const testNamespace = "bakers";

/** What the daemons of all tests need; a test about the Role brings its own. */
export const openRules: PolicyRule[] = [
  { apiGroups: ["coordination.k8s.io"], resources: ["leases"], verbs: ["get", "list", "watch", "create", "update"] },
  { apiGroups: [""], resources: ["configmaps"], verbs: ["get", "list", "watch", "update"] },
  { apiGroups: [""], resources: ["pods"], verbs: ["get", "list", "watch"] },
  { apiGroups: [""], resources: ["events"], verbs: ["create"] },
];

export interface TestKube {
  api: KubeApi;
  url: string;
  namespace: string;
  /**
   * A folder with a token of its own, known to faults and audit by the name `client`; `roles` names those given to
   * startKube. "admin" may do everything.
   */
  kubeDir(client: string, roles?: readonly string[] | "admin"): string;
  stop(): Promise<void>;
}

/** Starts the API on a free port of 127.0.0.1 or `host`. `roles` by name, default {@link openRules} as `daemon`. */
export async function startKube(
  options: {
    roles?: Record<string, PolicyRule[]>;
    tls?: boolean;
    host?: string;
    port?: number;
    api?: KubeApiOptions;
  } = {},
): Promise<TestKube> {
  const api = new KubeApi(options.api);
  const roles = options.roles ?? { daemon: openRules };
  for (const [name, rules] of Object.entries(roles))
    api.addRole({ metadata: { name, namespace: testNamespace }, rules });
  const { url } = await api.start({ tls: options.tls ?? false, host: options.host, port: options.port });
  const folder = mkdtempSync(join(tmpdir(), "tog-kube-"));
  return {
    api,
    url,
    namespace: testNamespace,
    kubeDir: (client, wanted = Object.keys(roles)) => {
      const token = `token-of-${client}`;
      if (wanted === "admin") api.addAdmin(token, client);
      else {
        api.addToken(token, { namespace: testNamespace, serviceAccount: client }, client);
        for (const role of wanted)
          api.addRoleBinding({
            metadata: { name: `${client}-${role}`, namespace: testNamespace },
            roleRef: { kind: "Role", name: role },
            subjects: [{ kind: "ServiceAccount", name: client }],
          });
      }
      const path = join(folder, client);
      api.writeKubeDir(path, token, testNamespace);
      return path;
    },
    stop: async () => {
      await api.dispose();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
