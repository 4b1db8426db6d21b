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
                  ? html`<td data-name="Epoch">${record.epoch}</td>
                      <td data-name="Holder">${record.holder.split("_")[0] || "–"}</td>
                      <td data-name="Floor">${record.floor}</td>
                      <td data-name="Block">${mark(record.marks.block)}</td>
                      <td data-name="Preattestation">${mark(record.marks.preattestation)}</td>
                      <td data-name="Attestation">${mark(record.marks.attestation)}</td>`
                  : html`<td colspan="6" class="bad">${missing ? "missing: no signature" : "empty"}</td>`
              }
            </tr>`,
        )}
      </tbody>
    </table>
  </section>`;
}
