/** What happened and is over. Last in every list, and no reason to doubt. */
import { secondsTime } from "../../daemons/runtime/kube";
import type { Facts } from "../facts";
import { note, type Found } from "../finding";

/** What is over is told this long; a daemon tells of its own as long (daemons/runtime/recent.ts). */
const recentMs = 600_000;

const endedContainers = ({ pods, atMs }: Facts): Found =>
  pods.flatMap(({ metadata: { name: pod }, containers }) =>
    containers.flatMap(({ name, ended, restarts }) =>
      ended && atMs - ended.atMs <= recentMs
        ? note(
            "container-ended",
            `${pod}: container ${name} ended at ${secondsTime(ended.atMs)}: ${ended.how}, ${restarts} restart${restarts === 1 ? "" : "s"}`,
            `kubectl logs ${pod} -c ${name} --previous`,
          )
        : [],
    ),
  );

const told = ({ members }: Facts): Found =>
  members.flatMap(({ pod, record }) =>
    (record?.recent ?? []).map((text) =>
      note("recent", `${pod}: ${text}`, `kubectl logs ${pod} --all-containers --prefix --since=15m`),
    ),
  );

export const noteRules = [endedContainers, told];
