/** What each member says of itself. */
import { html } from "htm/preact";
import { podClass, seconds } from "./format.js";
import { podState } from "./picture.js";

function Fact({ name, bad, good, children }) {
  return html`<div>
    <dt>${name}</dt>
    <dd class=${bad ? "bad" : good ? "good" : ""}>${children}</dd>
  </div>`;
}
const known = (value) => value ?? "not known";

function Election({ member }) {
  const eligible =
    member.eligible === null ? "not known" : member.eligible ? "yes" : `no: ${member.reason || "no reason given"}`;
  return html`<${Fact} name="State">${member.known ? member.state || "–" : "not known"}<//>
    <${Fact} name="Epoch">${member.epoch ?? "–"}<//>
    <${Fact} name="Could sign" bad=${member.eligible === false}>${eligible}<//>
    <${Fact} name="Nonces only here" bad=${member.noncesMissing > 0}>${known(member.noncesMissing)}<//>
    <${Fact} name="Signers that answer" bad=${member.signers === 0}>${known(member.signers)}<//>`;
}

export function MemberCard({ member, state }) {
  const { text, kind } = podState(member, state);
  const troubled = member.containers.filter((container) => container.restarts > 0 || container.state !== "running");
  return html`<section
    class="card member ${member.gone || member.down ? "lost" : ""}"
    aria-label=${`Member ${member.pod}`}
  >
    <h3>
      <span class="dot ${podClass(member.pod)}" aria-hidden="true"></span>${member.pod}
      <span class="badge ${kind}">${text}</span>
      ${member.holds && html`<span class="badge soft">holds the lease</span>`}
    </h3>
    ${member.silentSeconds !== null && html`<p class="warn">Silent for ${member.silentSeconds} s: nothing is known of it.</p>`}
    <dl class="facts">
      <${Fact} name="Zone">${member.zone}<//>
      <${Fact} name="Head" bad=${member.behind > 1}>
        ${known(member.head)}${member.behind ? ` (${member.behind} behind)` : ""}
      <//>
      <${Fact} name="octez-baker" good=${member.daemon === "running" && !member.paused}>
        ${member.paused ? "frozen" : member.daemon}
      <//>
      ${state.flag && html`<${Election} member=${member} />`}
    </dl>
    ${
      member.leaseLeftMs !== null &&
      html`<p class="lease">
        <label
          >Lease valid for ${seconds(member.leaseLeftMs)}
          <progress max=${member.leaseMs} value=${member.leaseLeftMs}></progress
        ></label>
      </p>`
    }
    <ul class="containers" aria-label="Containers">
      ${member.containers.map(
        (container) =>
          html`<li
            key=${container.name}
            class=${container.state === "running" ? (container.restarts ? "warn" : "soft") : "bad"}
          >
            ${container.name}${container.state === "running" ? "" : ` ${container.state}`}${container.restarts ? ` ↻${container.restarts}` : ""}
          </li>`,
      )}
    </ul>
    ${troubled.length > 0 && html`<span class="visually-hidden">${troubled.length} containers were restarted or do not run</span>`}
  </section>`;
}
