/** The watermarks of the keys. */
import { html } from "htm/preact";

const mark = (value) => (value ? `${value.level} / ${value.round}` : "–");
export function Watermarks({ state }) {
  return html`<section class="card wide" aria-labelledby="marks-title">
    <h2 id="marks-title">Watermark: nothing at or below is signed twice</h2>
    <table>
      <thead>
        <tr>
          <th scope="col">Key</th>
          <th scope="col">Epoch</th>
          <th scope="col">Holder</th>
          <th scope="col">Floor</th>
          <th scope="col">Block</th>
          <th scope="col">Preattestation</th>
          <th scope="col">Attestation</th>
        </tr>
      </thead>
      <tbody>
        ${state.watermarks.map(
          ({ key, record, missing }) =>
            html`<tr key=${key}>
              <th scope="row">${key.slice(0, 8)}…</th>
              ${
                record
                  ? html`<td>${record.epoch}</td>
                      <td>${record.holder.split("_")[0] || "–"}</td>
                      <td>${record.floor}</td>
                      <td>${mark(record.marks.block)}</td>
                      <td>${mark(record.marks.preattestation)}</td>
                      <td>${mark(record.marks.attestation)}</td>`
                  : html`<td colspan="6" class="bad">${missing ? "missing: no signature" : "empty"}</td>`
              }
            </tr>`,
        )}
      </tbody>
    </table>
  </section>`;
}
