/** Streams: whoever reads from elsewhere never keeps the pod's own containers out. */
import { StreamPlaces, streamPlaces } from "../../../daemons/runtime/stream-places";

const pod = "10.0.0.7";
const from = (remoteAddress: string) => ({ socket: { remoteAddress, localAddress: pod } });

test("callers from elsewhere take no place of the pod's own containers", () => {
  const places = new StreamPlaces();
  for (let i = 0; i < 1000; i++) places.take(from(`10.0.1.${i % 250}`));
  for (let i = 0; i < streamPlaces.own; i++) expect(places.take(from(pod))).toBeDefined();
  expect(places.take(from(pod))).toBeUndefined();
});
test("one caller leaves places for others, and gets its own back only when a stream of it ends", () => {
  const places = new StreamPlaces();
  const taken = Array.from({ length: 100 }, () => places.take(from("10.0.1.1"))).filter((leave) => leave);
  expect(taken).toHaveLength(streamPlaces.foreignPerCaller);
  expect(places.take(from("10.0.1.2"))).toBeDefined();
  taken[0]?.();
  expect(places.take(from("10.0.1.1"))).toBeDefined();
  expect(places.take(from("10.0.1.1"))).toBeUndefined();
});
test("what comes over loopback is the pod's own", () => {
  const places = new StreamPlaces();
  for (let i = 0; i < streamPlaces.own; i++) expect(places.take(from("127.0.0.1"))).toBeDefined();
});
