/** Everything that can be done to the laboratory. */
import { html } from "htm/preact";
import { useState } from "preact/hooks";
import { post, seconds } from "./format.js";

export function Faults({ state, faults }) {
  const [name, setName] = useState("kill-container");
  const [args, setArgs] = useState({});
  const [message, setMessage] = useState("");
  const chosen = faults.find((fault) => fault.name === name);
  const run = async (fault, given = {}) => {
    try {
      await post("/fault", { name: fault, args: given });
      setMessage(`${faults.find((entry) => entry.name === fault)?.title ?? fault}: done`);
    } catch (error) {
      setMessage(error.message);
    }
  };
  const pods = ["active", "standby", ...new Set(state.members.map((member) => member.pod))];
  const choices = {
    pod: pods,
    zone: ["active-zone", ...state.zones.map((zone) => zone.zone)],
    container: [...new Set(state.members.flatMap((member) => member.containers.map((container) => container.name)))],
    direction: ["all", "api", "chain", "signer", "peer"],
    mode: ["silent", "refuse"],
    signer: ["home1", "home2"],
  };
  const numbers = { ms: 500, share: 0.3 };
  const quick = [
    ["kill-pod", "Kill the master's pod", true],
    ["switchover", "Planned switchover", false],
    ["kill-daemon", "Kill its octez-baker", true],
    ["lose-zone", "Lose the master's zone", true],
    ["stale-head", "Stop its chain", true],
    ["pause", "Freeze the master", true],
    ["api-outage", "API outage", true],
    ["chain-halt", "Halt the chain", true],
  ];
  const submit = (event) => {
    event.preventDefault();
    const given = {};
    for (const argument of chosen?.arguments ?? []) {
      const value = args[argument] ?? choices[argument]?.[0];
      if (value !== undefined && !(argument in numbers && args[argument] === undefined))
        given[argument] = argument in numbers ? Number(value) : value;
    }
    void run(name, given);
  };
  return html`<section class="card" aria-labelledby="faults-title">
    <h2 id="faults-title">Faults</h2>
    <div class="buttons">
      ${quick.map(
        ([fault, title, danger]) =>
          html`<button
            key=${fault}
            type="button"
            data-fault=${fault}
            class=${danger ? "danger" : ""}
            disabled=${!state.flag && fault === "switchover"}
            onClick=${() => run(fault)}
          >
            ${title}
          </button>`,
      )}
    </div>
    <form class="fault" onSubmit=${submit}>
      <label
        >Any fault
        <select value=${name} onChange=${(event) => setName(event.target.value)}>
          ${faults.map((fault) => html`<option key=${fault.name} value=${fault.name}>${fault.title}</option>`)}
        </select>
      </label>
      ${(chosen?.arguments ?? []).map((argument) =>
        argument in choices
          ? html`<label key=${argument}
              >${argument}
              <select
                value=${args[argument] ?? choices[argument][0]}
                onChange=${(event) => setArgs({ ...args, [argument]: event.target.value })}
              >
                ${choices[argument].map((choice) => html`<option key=${choice} value=${choice}>${choice}</option>`)}
              </select>
            </label>`
          : html`<label key=${argument}
              >${argument === "ms" ? "milliseconds" : argument}
              <input
                type="number"
                step="any"
                size="8"
                value=${args[argument] ?? numbers[argument]}
                onInput=${(event) => setArgs({ ...args, [argument]: event.target.value })}
              />
            </label>`,
      )}
      <button type="submit">Do it</button>
    </form>
    <p role="status" aria-live="polite" class="soft" style="min-height:1.4em;margin:8px 0 0">${message}</p>
    ${
      state.active_faults.length > 0 &&
      html`<h3>Going on</h3>
        <ul class="buttons" style="list-style:none;padding:0;margin:6px 0 0">
          ${state.active_faults.map(
            (fault) =>
              html`<li key=${fault.id}>
                <button type="button" onClick=${() => post("/end", { id: fault.id })}>
                  End: ${fault.title} (${seconds(fault.forMs, 0)})
                </button>
              </li>`,
          )}
        </ul>`
    }
  </section>`;
}
