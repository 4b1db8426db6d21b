/** What programs of Octez 25.1 sent, answered and wrote, as it was recorded: `__tests__/fixtures/wire/octez-25.1`. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const root = join(__dirname, "../fixtures/wire/octez-25.1");

export interface Exchange {
  commandLine: string;
  request: { method: string; path: string; headers: [string, string][]; body: string | null };
  response: { status: number; headers: [string, string][]; body: string };
}

export const recordingNames = (folder: string): string[] => readdirSync(join(root, folder)).sort();
export const recordedText = (path: string): string => readFileSync(join(root, path), "utf8");
export const recordedJson = <T>(path: string): T => JSON.parse(recordedText(path)) as T;
/** The exchanges of a folder in their order, by the file's name without its extension. */
export const exchangesOf = (folder: string): (readonly [string, Exchange])[] =>
  recordingNames(folder)
    .filter((name) => name.endsWith(".json"))
    .map((name) => [name.slice(0, -5), recordedJson<Exchange>(`${folder}/${name}`)] as const);

export const headerOf = (headers: readonly [string, string][], name: string): string | undefined =>
  headers.find(([header]) => header.toLowerCase() === name)?.[1];
/** The body of a recorded answer without the frames in which it was sent. */
export function bodyOf({ headers, body }: Pick<Exchange["response"], "headers" | "body">): string {
  if (headerOf(headers, "transfer-encoding") !== "chunked") return body;
  let text = "";
  for (let rest = body; ;) {
    const [line = "", size = ""] = /^([0-9a-fA-F]+)\r\n/.exec(rest) ?? [];
    const bytes = parseInt(size, 16);
    if (line === "" || bytes === 0) return text;
    text += rest.slice(line.length, line.length + bytes);
    rest = rest.slice(line.length + bytes + 2);
  }
}
