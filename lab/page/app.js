import { html, render } from "htm/preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import uPlot from "uplot";

const seconds = (ms, digits = 1) => (ms === null || ms === undefined ? "–" : `${(ms / 1000).toFixed(digits)} s`);
const ordinal = (pod) => Number(/-(\d+)$/.exec(pod ?? "")?.[1] ?? 0);
const podClass = (pod) => `p${ordinal(pod) % 3}`;
const time = (atMs) =>
  new Date(atMs).toLocaleTimeString(undefined, { hour12: false }) +
  "." +
  String(Math.floor(atMs % 1000)).padStart(3, "0");

async function post(path, body) {
  const response = await fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error ?? response.statusText);
  return answer;
}

/** State, log and faults as the laboratory sends them. */
function useLaboratory() {
  const [state, setState] = useState(null);
  const [log, setLog] = useState([]);
  const [faults, setFaults] = useState([]);
  const [connected, setConnected] = useState(false);
  useEffect(() => {
    const source = new EventSource("/events");
    let waiting = [];
    let flush = 0;
    source.addEventListener("open", () => {
      setConnected(true);
      setLog([]);
    });
    source.addEventListener("error", () => setConnected(false));
    source.addEventListener("state", (event) => setState(JSON.parse(event.data)));
    source.addEventListener("faults", (event) => setFaults(JSON.parse(event.data)));
    source.addEventListener("log", (event) => {
      waiting.push(JSON.parse(event.data));
      if (!flush)
        flush = setTimeout(() => {
          flush = 0;
          const entries = waiting;
          waiting = [];
          setLog((before) => [...before, ...entries].slice(-400));
        }, 200);
    });
    return () => source.close();
  }, []);
  return { state, log, faults, connected };
}

function Now({ state, connected }) {
  const active = state.active === null ? undefined : { pod: state.active };
  const holder = state.members.find((member) => member.holds);
  const announcement = active ? `${active.pod} signs, epoch ${state.epoch ?? "none"}` : "nobody signs";
  return html`<section class="card" aria-labelledby="now-title">
    <h2 id="now-title" class="visually-hidden">Now</h2>
    <div class="now">
      <div class="who">
        ${
          active
            ? html`<span
                  class="dot ${podClass(active.pod)}"
                  style="display:inline-block;margin-right:10px"
                  aria-hidden="true"
                ></span
                >${active.pod} signs`
            : html`<span class="bad">Nobody signs</span>`
        }
      </div>
      <dl>
        <div>
          <dt>Level</dt>
          <dd>${state.head.level}${state.head.round > 0 ? ` round ${state.head.round}` : ""}</dd>
        </div>
        <div>
          <dt>Head age</dt>
          <dd class=${state.head.ageMs > 3 * state.blockMs ? "bad" : ""}>
            ${seconds(state.head.ageMs)}${state.head.halted ? " (halted)" : ""}
          </dd>
        </div>
        <div>
          <dt>Epoch</dt>
          <dd>${state.epoch ?? "–"}</dd>
        </div>
        <div>
          <dt>Lease</dt>
          <dd>
            ${holder ? `${holder.pod}, ${seconds(holder.leaseLeftMs)} left` : state.flag ? "free" : "none (solo)"}
          </dd>
        </div>
        <div>
          <dt>Nonces</dt>
          <dd>
            ${`${state.nonces.revealed} of ${state.nonces.committed} revealed`}${
              state.nonces.lost ? html`<span class="bad">${`, ${state.nonces.lost} lost`}</span>` : ""
            }
          </dd>
        </div>
        <div>
          <dt>Checker</dt>
          <dd class=${state.violations.length ? "bad" : "good"}>
            ${state.violations.length ? `${state.violations.length} violations` : `no violation in ${state.signatures} signatures`}
          </dd>
        </div>
      </dl>
    </div>
    ${!connected && html`<p class="bad" role="alert">The laboratory does not answer. It ended, or it is busy.</p>`}
    ${state.violations.map((violation) => html`<p class="bad" role="alert">${violation}</p>`)}
    <p class="visually-hidden" role="status" aria-live="polite">${announcement}</p>
  </section>`;
}

const levelText = (level) => {
  const block = level.bakedBy
    ? `block by ${level.bakedBy}`
    : level.blockMissed
      ? "our block was missed"
      : `block by ${level.proposer}`;
  const vote = level.attestedBy
    ? `attested by ${level.attestedBy} after ${seconds(level.afterMs, 2)}`
    : level.missed
      ? "attestation missed"
      : "not attested yet";
  return `Level ${level.level}${level.round ? `, round ${level.round}` : ""}: ${block}, ${vote}${level.commitment ? ", commits to a nonce" : ""}`;
};

function ChainStrip({ state }) {
  const levels = state.levels;
  const padded = [...Array(Math.max(0, 60 - levels.length)).fill(null), ...levels];
  return html`<section class="card" aria-labelledby="chain-title">
    <h2 id="chain-title">Chain: who baked and who attested each level</h2>
    <ol class="chain" tabindex="0" aria-label="The last 60 levels, oldest first">
      ${padded.map((level, i) =>
        level
          ? html`<li key=${level.level} title=${levelText(level)}>
              <span class="visually-hidden">${levelText(level)}</span>
              <div
                aria-hidden="true"
                class="cell ${level.bakedBy ? podClass(level.bakedBy) : level.blockMissed ? "miss" : ""}"
              >
                ${level.bakedBy ? ordinal(level.bakedBy) : level.blockMissed ? "×" : ""}${level.commitment ? "•" : ""}
              </div>
              <div
                aria-hidden="true"
                class="cell attest ${level.attestedBy ? podClass(level.attestedBy) : level.missed ? "miss" : level.missed === null ? "open" : "none"}"
              >
                ${level.attestedBy ? ordinal(level.attestedBy) : level.missed ? "×" : ""}
              </div>
              <div aria-hidden="true" class="tick">${level.level % 10 === 0 ? level.level : ""}</div>
            </li>`
          : html`<li key=${`empty${i}`} aria-hidden="true">
              <div class="cell none"></div>
              <div class="cell attest none"></div>
            </li>`,
      )}
    </ol>
    <ul class="legend" aria-label="Legend">
      ${state.members.map((member) => html`<li key=${member.uid}><span class="key ${podClass(member.pod)}"></span>${ordinal(member.pod)} = ${member.pod}</li>`)}
      <li><span class="key"></span>another baker's block</li>
      <li><span class="key miss"></span>× missed</li>
      <li>above: block, below: our attestation, • commits to a nonce</li>
    </ul>
  </section>`;
}

const cssColor = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function DelayChart({ state }) {
  const host = useRef(null);
  const plot = useRef(null);
  const pods = useMemo(
    () => [...new Set(state.members.map((member) => member.pod))].sort().slice(0, 3),
    [state.members.map((member) => member.pod).join()],
  );
  const data = useMemo(
    () => [
      state.levels.map((level) => level.level),
      ...pods.map((pod) =>
        state.levels.map((level) => (level.attestedBy === pod && level.afterMs !== null ? level.afterMs / 1000 : null)),
      ),
      state.levels.map((level) => (level.missed ? 0 : null)),
    ],
    [state.levels, pods],
  );
  const [dark, setDark] = useState(matchMedia("(prefers-color-scheme: dark)").matches);
  useEffect(() => {
    const media = matchMedia("(prefers-color-scheme: dark)");
    const change = () => setDark(media.matches);
    media.addEventListener("change", change);
    return () => media.removeEventListener("change", change);
  }, []);
  useEffect(() => {
    const axis = {
      stroke: cssColor("--soft"),
      grid: { stroke: cssColor("--line") },
      ticks: { stroke: cssColor("--line") },
    };
    const series = (label, color, size, fill) => ({
      label,
      stroke: cssColor(color),
      width: 2,
      points: { show: true, size, fill: fill ? cssColor(color) : undefined },
    });
    const chart = new uPlot(
      {
        width: host.current.clientWidth,
        height: 190,
        scales: {
          x: { time: false },
          y: { range: (_u, _min, max) => [0, Math.max(max ?? 0, state.blockMs / 2000) * 1.15] },
        },
        axes: [
          { ...axis, values: (_u, values) => values.map((value) => (Number.isInteger(value) ? String(value) : "")) },
          { ...axis, label: "seconds", labelSize: 18, size: 52 },
        ],
        series: [
          { label: "level" },
          ...pods.map((pod) => series(pod, `--pod${ordinal(pod) % 3}`, 5, true)),
          { ...series("missed", "--bad", 10, true), paths: () => null },
        ],
        legend: { live: false },
        cursor: { show: false },
      },
      data,
      host.current,
    );
    plot.current = chart;
    const observer = new ResizeObserver(() => chart.setSize({ width: host.current.clientWidth, height: 190 }));
    observer.observe(host.current);
    return () => {
      observer.disconnect();
      chart.destroy();
    };
  }, [pods, dark]);
  useEffect(() => plot.current?.setData(data), [data]);
  const last = state.levels.filter((level) => level.afterMs !== null).at(-1);
  return html`<section class="card" aria-labelledby="delay-title">
    <h2 id="delay-title">From the block to our attestation</h2>
    <div
      ref=${host}
      role="img"
      aria-label=${`Seconds from each block until our attestation of it; the last one ${last ? seconds(last.afterMs, 2) : "is missing"}`}
    ></div>
  </section>`;
}

function MemberCard({ member, state }) {
  const restarted = member.containers.filter((container) => container.restarts > 0 || container.state !== "running");
  return html`<section class="card member" aria-label=${`Member ${member.pod}`}>
    <h3>
      <span class="dot ${podClass(member.pod)}" aria-hidden="true"></span>${member.pod}
      ${member.holds && html`<span class="badge good">master</span>`}
      ${member.orphan && html`<span class="badge warn">force-deleted, runs on</span>`}
      ${member.paused && html`<span class="badge bad">frozen</span>`}
      <span class="badge ${member.ready ? "good" : "bad"}"
        >${member.ready ? "ready" : member.phase === "Running" ? "not ready" : member.phase.toLowerCase()}</span
      >
      ${member.cut.length > 0 && html`<span class="badge bad">cut from ${member.cut.join(", ")}</span>`}
    </h3>
    <dl class="facts">
      <div>
        <dt>Zone</dt>
        <dd>${member.zone}</dd>
      </div>
      <div>
        <dt>Head</dt>
        <dd class=${member.behind > 1 ? "bad" : ""}>
          ${member.head ?? "–"}${member.behind ? ` (${member.behind} behind)` : ""}
        </dd>
      </div>
      <div>
        <dt>Daemon</dt>
        <dd class=${member.daemon === "running" ? "good" : ""}>${member.daemon}</dd>
      </div>
      ${
        state.flag &&
        html`<div>
            <dt>State</dt>
            <dd>${member.state || "–"}</dd>
          </div>
          <div>
            <dt>Epoch</dt>
            <dd>${member.epoch ?? "–"}</dd>
          </div>
          <div>
            <dt>Eligible</dt>
            <dd class=${member.eligible ? "" : "bad"}>${member.eligible ? "yes" : member.reason || "no"}</dd>
          </div>
          <div>
            <dt>Nonces missing</dt>
            <dd class=${member.noncesMissing ? "bad" : ""}>${member.noncesMissing ?? "–"}</dd>
          </div>
          <div>
            <dt>Signers</dt>
            <dd class=${member.signers === 0 ? "bad" : ""}>${member.signers ?? "–"}</dd>
          </div>`
      }
    </dl>
    ${
      member.leaseLeftMs !== null &&
      html`<p style="margin:10px 0 0">
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
    ${restarted.length > 0 && html`<span class="visually-hidden">${restarted.length} containers were restarted or do not run</span>`}
  </section>`;
}

const mark = (value) => (value ? `${value.level} / ${value.round}` : "–");
function Watermarks({ state }) {
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

function Faults({ state, faults }) {
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

function Receipt({ state }) {
  const [chosen, setChosen] = useState(null);
  const receipts = state.receipts;
  const receipt = receipts.find((entry) => entry.id === chosen) ?? receipts.at(-1);
  if (!receipt)
    return html`<section class="card" aria-labelledby="receipt-title">
      <h2 id="receipt-title">Failover receipt</h2>
      <p class="soft">Nothing has happened yet. Kill something.</p>
    </section>`;
  return html`<section class="card" aria-labelledby="receipt-title" data-receipt=${receipt.open ? "open" : "closed"}>
    <h2 id="receipt-title">Failover receipt</h2>
    ${
      receipts.length > 1 &&
      html`<p style="margin:0 0 8px">
        <label
          >Case${" "}
          <select value=${receipt.id} onChange=${(event) => setChosen(Number(event.target.value))}>
            ${receipts.map((entry) => html`<option key=${entry.id} value=${entry.id}>${entry.id}: ${entry.title}</option>`)}
          </select></label
        >
      </p>`
    }
    <p style="margin:0 0 8px">${receipt.title}${receipt.open ? html` <span class="badge warn">going on</span>` : ""}</p>
    <div class="figures">
      <div><b class=${receipt.missedLevels > 2 ? "bad" : ""}>${receipt.missedLevels}</b>missed levels</div>
      <div><b>${receipt.failoverSeconds.toFixed(2)} s</b>without a signature</div>
      <div><b>${receipt.from || "–"} → ${receipt.to || "–"}</b>${receipt.cause || "no new tenure"}</div>
      <div><b>${receipt.overlapMs} ms</b>two daemons at once</div>
      <div><b class=${receipt.violations ? "bad" : "good"}>${receipt.violations}</b>violations</div>
    </div>
    <p class="soft" style="margin:0 0 8px">
      Blocks every ${seconds(state.blockMs)}; the daemon's declared start time is ${seconds(state.doubleStartMs, 2)}.
    </p>
    <div class="scroll" tabindex="0" role="region" aria-label="Timeline of the receipt">
      <table>
        <thead>
          <tr>
            <th scope="col">Time</th>
            <th scope="col">Pod</th>
            <th scope="col">Event</th>
            <th scope="col">Reason</th>
          </tr>
        </thead>
        <tbody>
          ${receipt.timeline.map(
            (entry, i) =>
              html`<tr key=${i}>
                <td>${entry.atMs >= 0 ? "+" : ""}${(entry.atMs / 1000).toFixed(2)} s</td>
                <td>${entry.pod}</td>
                <td>${entry.event}</td>
                <td>${entry.reason}</td>
              </tr>`,
          )}
        </tbody>
      </table>
    </div>
  </section>`;
}

function Log({ log }) {
  const [errorsOnly, setErrorsOnly] = useState(false);
  const shown = log
    .filter((entry) => !errorsOnly || entry.level === "warn" || entry.level === "error")
    .slice(-150)
    .reverse();
  return html`<section class="card" aria-labelledby="log-title">
    <h2 id="log-title">Event log, newest first</h2>
    <p style="margin:0 0 8px">
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
            <th scope="col">Event</th>
            <th scope="col">Reason</th>
          </tr>
        </thead>
        <tbody>
          ${shown.map(
            (entry, i) =>
              html`<tr key=${i} class=${entry.level === "error" ? "bad" : entry.level === "warn" ? "warn" : ""}>
                <td>${time(entry.atMs)}</td>
                <td>${entry.pod}</td>
                <td>${entry.source}</td>
                <td>${entry.event}</td>
                <td>${entry.reason}</td>
              </tr>`,
          )}
        </tbody>
      </table>
    </div>
  </section>`;
}

function App() {
  const { state, log, faults, connected } = useLaboratory();
  if (!state) return html`<p class="loading" role="status">The laboratory is starting.</p>`;
  return html`<a class="skip" href="#main">To the content</a>
    <header class="top">
      <h1>Laboratory of baker ${state.baker}</h1>
      <p>
        ${state.flag ? "active-standby" : "solo"}, a block every ${seconds(state.blockMs)}, simulated chain, real
        daemons
      </p>
    </header>
    <main id="main">
      <${Now} state=${state} connected=${connected} />
      <${ChainStrip} state=${state} />
      <div class="columns">
        ${state.members.map((member) => html`<${MemberCard} key=${member.uid} member=${member} state=${state} />`)}
      </div>
      <${Faults} state=${state} faults=${faults} />
      <${Receipt} state=${state} />
      <${DelayChart} state=${state} />
      <${Watermarks} state=${state} />
      <${Log} log=${log} />
    </main>`;
}
render(html`<${App} />`, document.getElementById("app"));
document.querySelector("#app > .loading")?.remove();
