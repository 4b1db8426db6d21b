import { noMarks, readWatermark, type Watermark } from "../../contract/watermark";

const record: Watermark = {
  ...{ version: 1, baker: "alice", chain: "NetXdQprcVkpaWU", epoch: 7, holder: "alice-as-0_u", floor: 99 },
  ...{ marks: noMarks, unfenced: false },
};

test("a text that was never written is empty", () => {
  for (const text of [undefined, "", " \n"]) expect(readWatermark(text)).toEqual({ state: "empty" });
});

test("a record is read whole", () => {
  expect(readWatermark(JSON.stringify(record))).toEqual({ state: "record", record });
});

test("what is not understood still says of which baker and epoch it is", () => {
  expect(readWatermark(JSON.stringify({ ...record, floor: "high" }))).toEqual({
    ...{ state: "unreadable", problem: "floor", baker: "alice", epoch: 7 },
  });
  expect(readWatermark(JSON.stringify({ ...record, of: "the future" }))).toMatchObject({ baker: "alice", epoch: 7 });
  for (const text of ["{", "null", "7", '{"baker":5,"epoch":"7"}'])
    expect(readWatermark(text)).toMatchObject({ state: "unreadable", baker: undefined, epoch: undefined });
});
