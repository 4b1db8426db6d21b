import type { Lab } from "../lab";
import type { Scenario } from "../scenarios/scenario";
export function servePage(
  _lab: Lab,
  _options: { port: number; scenarios: Record<string, Scenario> },
): Promise<{ url: string; close(): void }> {
  return Promise.resolve({ url: "", close: () => undefined });
}
