/** The last levels of the chain, and how long each attestation took. */
import { html } from "htm/preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import { ordinal, podClass, seconds } from "./format.js";

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

export function ChainStrip({ state }) {
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

export function DelayChart({ state }) {
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
        padding: [null, 32, null, null],
        scales: {
          x: { time: false },
          y: { range: (_u, _min, max) => [0, Math.max(max ?? 0, state.blockMs / 2000) * 1.15] },
        },
        axes: [
          {
            ...axis,
            // A level has seven digits: so much room for each, and whole levels only.
            space: 90,
            values: (_u, values) => values.map((value) => (Number.isInteger(value) ? String(value) : "")),
          },
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
