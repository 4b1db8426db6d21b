/** What the gate answers to one signing request. */
export type Refusal = { status: 400 | 404 | 409 | 503 | 504; reason: string; detail: string };
export type GateAnswer = { status: 200; signature: string; reason: string } | Refusal;

export const refuse = (status: Refusal["status"], reason: string, detail: string): Refusal => ({
  status,
  reason,
  detail,
});
