/** What all parts of the page share. */
export const seconds = (ms, digits = 1) => (ms === null || ms === undefined ? "–" : `${(ms / 1000).toFixed(digits)} s`);
export const ordinal = (pod) => Number(/-(\d+)$/.exec(pod ?? "")?.[1] ?? 0);
export const podClass = (pod) => `p${ordinal(pod) % 3}`;
export const time = (atMs) =>
  new Date(atMs).toLocaleTimeString(undefined, { hour12: false }) +
  "." +
  String(Math.floor(atMs % 1000)).padStart(3, "0");

export async function post(path, body) {
  const response = await fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error ?? response.statusText);
  return answer;
}
