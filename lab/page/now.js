/** Who signs now, and where nobody does, why. */
import { html } from "htm/preact";
import { podClass, seconds } from "./format.js";

function Figure({ name, bad, good, children }) {
  return html`<div>
    <dt>${name}</dt>
    <dd class=${bad ? "bad" : good ? "good" : ""}>${children}</dd>
  </div>`;
}

export function Now({ state, connected }) {
  const { headline, head, nonces, violations } = state;
  const { holder, leftMs } = state.lease ?? { holder: "", leftMs: 0 };
  const lease = !holder
    ? "free"
    : leftMs > 0
      ? `${holder}, ${seconds(leftMs)} left`
      : `of ${holder}, over: whoever is able takes it`;
  const warnings = state.findings.filter((finding) => finding.severity === "warning");
  return html`<section class="card" aria-labelledby="now-title">
    <h2 id="now-title" class="visually-hidden">Now</h2>
    <p class="who ${headline.signer ? "" : "bad"}">
      ${headline.signer && html`<span class="dot ${podClass(headline.signer)}" aria-hidden="true"></span>`}
      <span>${headline.sentence}</span>
    </p>
    ${headline.doubt && html`<p class="warn doubt">But: ${headline.doubt}.</p>`}
    <dl class="now">
      <${Figure} name="Level">${head.level}${head.round > 0 ? ` round ${head.round}` : ""}<//>
      <${Figure} name="Age of the head" bad=${head.ageMs > 3 * state.blockMs}>
        ${seconds(head.ageMs)}${head.halted ? " (the chain is halted)" : ""}
      <//>
      ${state.flag && html`<${Figure} name="Lease">${lease}<//>`}
      <${Figure} name="Nonces" bad=${nonces.lost > 0}>
        ${`${nonces.revealed} of ${nonces.committed} revealed`}${nonces.lost ? `, ${nonces.lost} lost` : ""}
      <//>
      <${Figure} name="Signed twice" bad=${violations.length > 0} good=${violations.length === 0}>
        ${violations.length ? `${violations.length} violations` : `nothing, in ${state.signatures} signatures`}
      <//>
    </dl>
    ${
      warnings.length > 0 &&
      html`<details class="findings">
        <summary>${warnings.length} warning${warnings.length === 1 ? "" : "s"}</summary>
        <ul>
          ${warnings.map((finding, i) => html`<li key=${i}>${finding.text}</li>`)}
        </ul>
      </details>`
    }
    ${!connected && html`<p class="bad" role="alert">The laboratory does not answer. It ended, or it is busy.</p>`}
    ${violations.map((violation) => html`<p class="bad" role="alert">${violation}</p>`)}
    <p class="visually-hidden" role="status" aria-live="polite">
      ${headline.signer ? headline.sentence : headline.sentence.replace(/\d+ s\b/g, "some seconds")}
    </p>
  </section>`;
}
