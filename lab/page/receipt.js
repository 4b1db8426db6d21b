/** What one fault cost: a sentence, a bar from the fault to the first signature, and the events for whoever asks. */
import { html } from "htm/preact";
import { useState } from "preact/hooks";
import { seconds } from "./format.js";

/** The stretches between the steps; each is named after the step that ends it. */
function Bar({ phases }) {
  const last = phases.at(-1)?.atMs ?? 0;
  if (phases.length < 2 || last === 0) return "";
  const parts = phases.slice(1).map((phase, i) => ({ ...phase, ms: phase.atMs - phases[i].atMs }));
  return html`<div>
    <div class="bar" aria-hidden="true">
      ${parts.map((part, i) => html`<span key=${part.name} class="phase s${i}" style=${`flex-grow:${Math.max(part.ms, last / 100)}`}></span>`)}
    </div>
    <ol class="phases" aria-label="From the fault to the first signature">
      <li>fault <b>0.00 s</b></li>
      ${parts.map((part, i) => html`<li key=${part.name}><span class="key s${i}" aria-hidden="true"></span>${part.name} <b>${seconds(part.atMs, 2)}</b></li>`)}
    </ol>
  </div>`;
}

function Figures({ receipt }) {
  const { goalMissedLevels: goal, missedLevels: missed, overlap } = receipt;
  const over = goal !== null && missed > goal;
  // One string: between words and a value of a template a new line is no space.
  const levels = `missed ${missed === 1 ? "level" : "levels"}${goal === null ? "" : `, the goal is at most ${goal}`}`;
  return html`<div class="figures">
    <div><b class=${over ? "bad" : goal === null ? "" : "good"}>${missed}</b>${levels}</div>
    <div>
      <b class=${receipt.silent ? "bad" : ""}>${receipt.silentSeconds.toFixed(1)} s</b>
      ${receipt.silent ? "without a signature, and counting" : "longest time without a signature"}
    </div>
    <div><b>${seconds(overlap.ms)}</b>${overlap.text}</div>
    <div>
      <b class=${receipt.violations ? "bad" : "good"}>${receipt.violations}</b>things signed twice or out of order
    </div>
  </div>`;
}

export function Receipt({ state }) {
  const [chosen, setChosen] = useState(null);
  const receipts = state.receipts;
  const receipt = receipts.find((entry) => entry.id === chosen) ?? receipts.at(-1);
  if (!receipt)
    return html`<section class="card" aria-labelledby="receipt-title">
      <h2 id="receipt-title">Receipt</h2>
      <p class="soft">Nothing has happened yet. Break something.</p>
    </section>`;
  return html`<section class="card" aria-labelledby="receipt-title" data-receipt=${receipt.open ? "open" : "closed"}>
    <h2 id="receipt-title">Receipt</h2>
    ${
      receipts.length > 1 &&
      html`<p class="choice">
        <label
          >Which${" "}
          <select value=${receipt.id} onChange=${(event) => setChosen(Number(event.target.value))}>
            ${receipts.map((entry) => html`<option key=${entry.id} value=${entry.id}>${entry.id}: ${entry.title}</option>`)}
          </select></label
        >
      </p>`
    }
    <p class="sentence">${receipt.sentence}</p>
    <${Bar} phases=${receipt.phases} />
    <${Figures} receipt=${receipt} />
    <details>
      <summary>${receipt.timeline.length} events</summary>
      <p class="soft">
        Blocks every ${seconds(state.blockMs)}; octez-baker needs ${seconds(state.doubleStartMs, 2)} to start here.
      </p>
      <div class="scroll" tabindex="0" role="region" aria-label="Events of the receipt">
        <table>
          <thead>
            <tr>
              <th scope="col">Time</th>
              <th scope="col">Pod</th>
              <th scope="col">What happened</th>
            </tr>
          </thead>
          <tbody>
            ${receipt.timeline.map(
              (entry, i) =>
                html`<tr key=${i}>
                  <td class="time">${entry.atMs >= 0 ? "+" : ""}${(entry.atMs / 1000).toFixed(2)} s</td>
                  <td>${entry.pod}</td>
                  <td>${entry.text}</td>
                </tr>`,
            )}
          </tbody>
        </table>
      </div>
    </details>
  </section>`;
}
