/** The elector's two listeners: the one that others may reach only tells; what starts a handover is on the other. */
import { electorPaths } from "../../../contract/leadership";
import type { Elector } from "../../../daemons/elector/elector";
import { serveElector, servePreStop } from "../../../daemons/elector/server";
import { Registry } from "../../../daemons/runtime/metrics";

const host = "127.0.0.1";

test("no request to the port that monitoring reaches starts a handover, by whatever method", async () => {
  const handOver = jest.fn(() => Promise.resolve(true));
  const elector = {
    handOver,
    evaluate: () => undefined,
    leadership: () => null,
    members: () => [],
    status: () => ({}),
    subscribe: () => () => undefined,
  } as unknown as Elector;
  const told = await serveElector({ elector, host, port: 0, registry: new Registry() });
  const preStop = await servePreStop({ elector, host, port: 0, preStopSeconds: 1 });
  try {
    for (const method of ["GET", "POST", "PUT", "DELETE"]) {
      const answer = await fetch(`http://${host}:${told.port}${electorPaths.handedOver}`, { method });
      expect([method, answer.status]).toEqual([method, 404]);
    }
    expect(handOver).not.toHaveBeenCalled();
    const asked = await fetch(`http://${host}:${preStop.port}${electorPaths.handedOver}`);
    expect(await asked.json()).toEqual({ handedOver: true });
    expect(handOver).toHaveBeenCalledTimes(1);
  } finally {
    await Promise.all([told.close(), preStop.close()]);
  }
});
