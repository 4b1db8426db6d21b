/** What the daemons and the laboratory say, as sentences. */
import { html } from "htm/preact";
import { useState } from "preact/hooks";
import { time } from "./format.js";

export function Log({ log }) {
  const [errorsOnly, setErrorsOnly] = useState(false);
  const shown = log
    .filter((entry) => !errorsOnly || entry.level === "warn" || entry.level === "error")
    .slice(-150)
    .reverse();
  return html`<section class="card" aria-labelledby="log-title">
    <h2 id="log-title">Event log, newest first</h2>
    <p class="choice">
      <label
        ><input
          type="checkbox"
          style="min-height:0"
          checked=${errorsOnly}
          onChange=${(event) => setErrorsOnly(event.target.checked)}
        />
        warnings and errors only</label
      >
    </p>
    <div class="scroll log" tabindex="0" role="region" aria-label="Event log">
      <table>
        <thead>
          <tr>
            <th scope="col">Time</th>
            <th scope="col">Pod</th>
            <th scope="col">From</th>
            <th scope="col">What happened</th>
          </tr>
        </thead>
        <tbody>
          ${shown.map(
            (entry, i) =>
              html`<tr
                key=${i}
                class=${entry.level === "error" ? "bad" : entry.level === "warn" ? "warn" : ""}
                data-event=${entry.known ? null : `${entry.source} ${entry.event}`}
              >
                <td class="time">${time(entry.atMs)}</td>
                <td>${entry.pod}</td>
                <td>${entry.source}</td>
                <td>${entry.text}</td>
              </tr>`,
          )}
        </tbody>
      </table>
    </div>
  </section>`;
}
