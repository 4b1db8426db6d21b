/** What a signer's URL names, and which ones cannot be used. */
import { isPrivate, readSignerUrl } from "../../contract/signer-url";

test.each([
  ["http://10.8.0.5:6732", { host: "10.8.0.5", port: 6732, isAddress: true, encrypted: false }],
  ["https://signer.example.org", { host: "signer.example.org", port: 443, isAddress: false, encrypted: true }],
  ["http://TezSign.vpn.svc:20090/", { host: "tezsign.vpn.svc", port: 20090, isAddress: false, encrypted: false }],
  ["http://signer/alice", { host: "signer", port: 80, isAddress: false, encrypted: false }],
  ["tcp://10.8.0.5:7732", { host: "10.8.0.5", port: 7732, isAddress: true, encrypted: false }],
  ["tcp://Russignol.example.org:80", { host: "russignol.example.org", port: 80, isAddress: false, encrypted: false }],
])("%s is where requests and the policy go", (url, read) => {
  expect(readSignerUrl(url)).toEqual(read);
});

test.each([
  ["10.8.0.5:6732", /^a text that is no URL$|^"10\.8/],
  ["tcp://169.254.1.1:7732", /tcp:/],
  ["tcp://10.8.0.5", /tcp:/],
  ["tcp://10.8.0.5:7732/tz4R", /tcp:/],
  // The same addresses in other words.
  ["tcp://2130706433:7732", /2130706433/],
  ["tcp://0x7f.1:7732", /0x7f/],
  ["tcp://[fd00::5]:7732", /fd00/],
  ["unix:/run/signer", /unix:/],
  ["ftp://10.8.0.5", /ftp:/],
  ["http://127.0.0.1:6732", /127/],
  ["http://0x7f.1:6732", /0x7f/],
  ["http://localhost:6732", /localhost/],
  ["http://169.254.169.254/", /169\.254/],
  ["http://0.0.0.0:6732", /0\.0\.0\.0/],
  ["http://224.0.0.1:6732", /224/],
  ["http://[fd00::5]:6732", /fd00/],
  ["http://sig_ner:6732", /sig_ner/],
])("%s is refused", (url, found) => {
  const read = readSignerUrl(url);
  expect(read).toEqual({ found: expect.stringMatching(found) as string, write: expect.any(String) as string });
});

test("what may be a secret in a URL is not shown", () => {
  for (const url of [
    "http://me:hunter2@10.8.0.5",
    "http://hunter2@10.8.0.5",
    "http://10.8.0.5/?token=hunter2",
    "http://10.8.0.5/#hunter2",
    "tcp://hunter2@10.8.0.5:7732",
    "tcp://10.8.0.5:7732?token=hunter2",
  ]) {
    const read = readSignerUrl(url);
    expect(read).toEqual(expect.objectContaining({ found: expect.stringContaining("not shown") as string }));
    expect(JSON.stringify(read)).not.toContain("hunter2");
  }
});

test("private is what the internet does not route", () => {
  for (const address of ["10.0.0.1", "172.16.0.1", "172.31.9.9", "192.168.1.1", "100.64.0.1", "100.127.0.1"])
    expect([address, isPrivate(address)]).toEqual([address, true]);
  for (const address of [
    "11.0.0.1",
    "172.15.0.1",
    "172.32.0.1",
    "192.169.1.1",
    "100.63.0.1",
    "100.128.0.1",
    "110.0.0.1",
  ])
    expect([address, isPrivate(address)]).toEqual([address, false]);
});
