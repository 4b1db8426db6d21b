import { storageObjects } from "../../../lab/nodes/disks";

const disk = { device: "/dev/loop7", file: "f" };
const specs = (claim?: { namespace: string; name: string }) =>
  storageObjects([{ name: "d", disk, machines: ["node-a", "node-b"], claim }]).flatMap((object) =>
    "spec" in object ? [object.spec] : [],
  );

test("a disk that has a claim is kept for it, and another one is anybody's", () => {
  const claim = { namespace: "bakery", name: "regional-alice-solo-0" };
  expect(specs(claim)).toMatchObject([{ claimRef: claim, local: { path: "/dev/loop7" } }]);
  expect(specs()[0]).not.toHaveProperty("claimRef");
});
