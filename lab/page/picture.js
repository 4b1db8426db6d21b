/** The two zones, the API, the signers at home and the ways between them, with what is cut, slow or dead where it is. */
import { html } from "htm/preact";
import { podClass } from "./format.js";

const signs = { slow: "~", cut: "✕" };

/** A line with its state in words; what is open says nothing but for screen readers. */
function Way({ name, way, across }) {
  return html`<div class="way ${way.state} ${across ? "across" : ""}">
    <span class="line" aria-hidden="true"></span>
    <span class="label">
      ${name}${
        way.state === "open" || way.state === "dead"
          ? html`<span class="visually-hidden"> ${way.state === "open" ? "is open" : way.text}</span>`
          : html`<b> <span aria-hidden="true">${signs[way.state]}</span> ${way.text}</b>`
      }
    </span>
  </div>`;
}

export function podState(member, state) {
  if (member.gone) return { text: "gone", kind: "bad" };
  if (member.down) return { text: "its machine is lost", kind: "bad" };
  if (member.orphan) return { text: "force-deleted, runs on", kind: "warn" };
  if (member.paused) return { text: "frozen", kind: "bad" };
  if (member.phase !== "Running") return { text: member.phase === "Pending" ? "starts" : "ends", kind: "warn" };
  if (member.pod === state.active && member.daemon === "running") return { text: "signs", kind: "good" };
  if (!member.ready) return { text: "not ready", kind: "bad" };
  if (!state.flag) return { text: "runs", kind: "good" };
  return member.eligible ? { text: "stands by", kind: "good" } : { text: "cannot take over", kind: "warn" };
}

function Pod({ member, state }) {
  const { text, kind } = podState(member, state);
  return html`<div class="pod ${podClass(member.pod)}-edge ${member.gone || member.down ? "lost" : ""}">
    <b>${member.pod}</b>
    <span class=${kind}>${text}</span>
    ${member.holds && html`<span class="soft">holds the lease</span>`}
  </div>`;
}

function Signers({ state }) {
  const names = state.signersOutside;
  if (names.length === 0)
    return html`<div class="place"><b>Signer</b><span class="soft">in the cluster, for tests</span></div>`;
  return html`<div class="place">
    <b>${state.tunnels.length > 0 ? "Signers at home" : "Signers by URL"}</b
    ><span class="soft">${names.join(", ")}</span>
  </div>`;
}

function Zone({ zone, down, state }) {
  const members = state.members.filter((member) => member.zone === zone);
  const tunnels = state.tunnels.filter((tunnel) => tunnel.zone === zone);
  const dead = { state: "dead", text: "nobody there" };
  const of = (direction) => {
    const member = members.find((entry) => !entry.orphan) ?? members[0];
    if (!member || member.gone || member.down) return dead;
    return direction === "api" && state.api.state !== "open" ? state.api : member.ways[direction];
  };
  return html`<li class="zone ${down ? "lost" : ""}">
    <${Way} name="to the API" way=${of("api")} />
    <div class="room">
      <span class="soft">zone ${zone}${down ? ", lost" : ""}</span>
      ${members.length ? members.map((member) => html`<${Pod} key=${member.uid} member=${member} state=${state} />`) : html`<span class="soft">no pod</span>`}
      <${Way} name="to its peers of the chain" way=${of("chain")} across=${true} />
      ${members.length > 0 && state.members.length > 1 && html`<${Way} name="to the other pod" way=${of("peer")} across=${true} />`}
    </div>
    <${Way} name="to the signer" way=${of("signer")} />
    ${tunnels.map((tunnel) => html`<${Way} key=${tunnel.signer} name=${`tunnel of ${tunnel.signer}`} way=${tunnel.way} />`)}
  </li>`;
}

export function Picture({ state }) {
  return html`<section class="card" aria-labelledby="picture-title">
    <h2 id="picture-title">Where things are</h2>
    <div class="picture">
      <div class="place ${state.api.state === "cut" ? "lost" : ""}">
        <b>Kubernetes API</b>
        <span class=${state.api.state === "open" ? "soft" : "bad"}
          >${state.api.state === "open" ? "keeps the lease and the watermarks" : state.api.text}</span
        >
      </div>
      <ul class="zones">
        ${state.zones.map(({ zone, down }) => html`<${Zone} key=${zone} zone=${zone} down=${down} state=${state} />`)}
      </ul>
      <${Signers} state=${state} />
    </div>
  </section>`;
}
