/** Role-based access as the API server decides it, for namespaced roles: nothing is allowed that no rule names. */
export interface PolicyRule {
  apiGroups?: readonly string[];
  resources?: readonly string[];
  resourceNames?: readonly string[];
  verbs: readonly string[];
}
/** `rbac.authorization.k8s.io/v1` Role, as synthesized. */
export interface Role {
  metadata: { name: string; namespace?: string };
  rules: readonly PolicyRule[];
}
export interface RoleBinding {
  metadata: { name?: string; namespace?: string };
  roleRef: { kind?: string; name: string };
  subjects: readonly { kind: string; name: string; namespace?: string }[];
}
export interface User {
  name: string;
  groups: readonly string[];
}
export interface Attributes {
  verb: string;
  group: string;
  resource: string;
  namespace: string;
  /** "" where the request names no object (create, list without a name selector). */
  name: string;
}

export const anonymous: User = { name: "system:anonymous", groups: ["system:unauthenticated"] };
export const serviceAccountUser = (namespace: string, name: string): User => ({
  name: `system:serviceaccount:${namespace}:${name}`,
  groups: ["system:serviceaccounts", `system:serviceaccounts:${namespace}`, "system:authenticated"],
});

const has = (list: readonly string[] | undefined, value: string): boolean =>
  (list ?? []).some((entry) => entry === "*" || entry === value);

export const ruleAllows = (rule: PolicyRule, wanted: Attributes): boolean =>
  has(rule.verbs, wanted.verb) &&
  has(rule.apiGroups, wanted.group) &&
  has(rule.resources, wanted.resource) &&
  ((rule.resourceNames ?? []).length === 0 || (wanted.name !== "" && (rule.resourceNames ?? []).includes(wanted.name)));

export class Rbac {
  private readonly roles = new Map<string, Role>();
  private readonly bindings = new Map<string, RoleBinding>();

  /** Adds or replaces; the namespace defaults to `default`. */
  addRole(role: Role): void {
    this.roles.set(`${role.metadata.namespace ?? "default"}/${role.metadata.name}`, role);
  }
  addRoleBinding(binding: RoleBinding): void {
    this.bindings.set(
      `${binding.metadata.namespace ?? "default"}/${binding.metadata.name ?? binding.roleRef.name}`,
      binding,
    );
  }
  allows(user: User, wanted: Attributes): boolean {
    if (user.groups.includes("system:masters")) return true;
    for (const binding of this.bindings.values()) {
      const namespace = binding.metadata.namespace ?? "default";
      if (namespace !== wanted.namespace) continue;
      const bound = binding.subjects.some((subject) =>
        subject.kind === "ServiceAccount"
          ? user.name === `system:serviceaccount:${subject.namespace ?? namespace}:${subject.name}`
          : subject.kind === "Group"
            ? user.groups.includes(subject.name)
            : user.name === subject.name,
      );
      if (
        bound &&
        (this.roles.get(`${namespace}/${binding.roleRef.name}`)?.rules ?? []).some((rule) => ruleAllows(rule, wanted))
      )
        return true;
    }
    return false;
  }
}
