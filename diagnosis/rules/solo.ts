/** The one pod without a standby. */
import type { Facts } from "../facts";
import { stopped, warning, type Found } from "../finding";
import { podsMissing, podsStarting } from "./presence";

export const soloPod = ({ pods }: Facts) => pods.find(({ metadata }) => metadata.name.includes("-solo-"));

const otherTopology = (facts: Facts): Found =>
  facts.pods
    .filter((pod) => pod !== soloPod(facts))
    .map(({ metadata }) =>
      warning(
        "other-topology",
        `${metadata.name} of the other topology is still there`,
        "it ends by itself; the solo pod waits for that",
      ),
    );

const missing = (facts: Facts): Found => podsMissing(facts, stopped);

const noPod = (facts: Facts): Found =>
  !soloPod(facts) && facts.missingPods.length === 0
    ? stopped("no-baker", `no pod of baker ${facts.baker}`, "check --baker and --namespace, or deploy")
    : undefined;

const starting = (facts: Facts): Found => podsStarting([soloPod(facts) ?? []].flat(), stopped);

const notReady = (facts: Facts): Found => {
  const pod = soloPod(facts);
  const down = pod?.containers.filter(({ ready }) => !ready) ?? [];
  if (!pod || pod.init !== "" || down.length === 0) return undefined;
  const names = down.map(({ name, waiting }) => `${name}${waiting ? ` (${waiting})` : ""}`).join(", ");
  return stopped(
    "containers-not-ready",
    `${pod.metadata.name}: not ready: ${names}`,
    `kubectl logs ${pod.metadata.name} -c ${down[0]?.name}`,
  );
};

export const soloRules = [otherTopology, missing, noPod, starting, notReady];
