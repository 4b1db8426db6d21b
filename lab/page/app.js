/** The laboratory's page: what happens now, why, and what happened at each fault. */
import { html, render } from "htm/preact";
import { useEffect, useState } from "preact/hooks";
import { ChainStrip, DelayChart } from "./chain.js";
import { Faults } from "./faults.js";
import { seconds } from "./format.js";
import { Log } from "./log.js";
import { Watermarks } from "./marks.js";
import { MemberCard } from "./members.js";
import { Now } from "./now.js";
import { Picture } from "./picture.js";
import { Receipt } from "./receipt.js";

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

function App() {
  const { state, log, faults, connected } = useLaboratory();
  if (!state) return html`<p class="loading" role="status">The laboratory is starting.</p>`;
  return html`<a class="skip" href="#main">To the content</a>
    <header class="top">
      <h1>Laboratory of baker ${state.baker}</h1>
      <p>
        A Tezos baker that runs in two zones, on a simulated chain with a block every ${seconds(state.blockMs)}: break
        something below, and see who signs, whether anything is signed twice, and how many levels are missed.
        ${state.flag ? "" : " Here it runs as one pod without a standby (the flag is off)."}
      </p>
    </header>
    <main id="main">
      <${Now} state=${state} connected=${connected} />
      <${Picture} state=${state} />
      <${Faults} state=${state} faults=${faults} />
      <${Receipt} state=${state} />
      <${ChainStrip} state=${state} />
      <div class="columns">
        ${state.members.map((member) => html`<${MemberCard} key=${member.uid} member=${member} state=${state} />`)}
      </div>
      <${DelayChart} state=${state} />
      <${Watermarks} state=${state} />
      <${Log} log=${log} />
    </main>`;
}
render(html`<${App} />`, document.getElementById("app"));
document.querySelector("#app > .loading")?.remove();
