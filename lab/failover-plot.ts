/**
 * The picture of a failover benchmark: one dot a run, a bar to the median, by event and design. Reads the same on light
 * and dark pages.
 */
interface Report {
  blockSeconds: number;
  /** 1: real time. */
  scale: number;
  doubleStartSeconds: number;
  measurements: { design: string; event: string; seconds: number; failedOver: boolean }[];
}
const colors: Record<string, string> = {
  ours: "#1d5fd1",
  "client-go": "#b45309",
  predecessor: "#a21caf",
  single: "#4b5563",
};
const names: Record<string, string> = {
  ours: "ours",
  "client-go": "ours with client-go's timings",
  predecessor: "predecessor, two replicas",
  single: "predecessor, one replica",
};
const escape = (text: string): string => text.replace(/&/g, "&amp;").replace(/</g, "&lt;");
const median = (values: number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor((values.length - 1) / 2)] ?? 0;

/** @param texts event -> its name for people */
export function failoverPlot(report: Report, texts: Readonly<Record<string, string>>): string {
  const designs = Object.keys(names).filter((design) => report.measurements.some((entry) => entry.design === design));
  const events = Object.keys(texts).filter((event) => report.measurements.some((entry) => entry.event === event));
  const left = 150;
  const width = 860;
  const row = 17;
  const group = designs.length * row + 20;
  const top = 62;
  const height = top + events.length * group + 48;
  const blocks = (seconds: number) => seconds / report.blockSeconds;
  const most = Math.max(
    1,
    ...report.measurements.filter((entry) => entry.failedOver).map((entry) => blocks(entry.seconds)),
  );
  const limit = Math.ceil(most + 0.5);
  const x = (value: number) => left + (Math.min(value, limit) / limit) * (width - left - 60);
  const step = limit > 12 ? 2 : 1;
  const lines: string[] = [];
  for (let tick = 0; tick <= limit; tick += step)
    lines.push(
      `<line x1="${x(tick)}" x2="${x(tick)}" y1="${top - 6}" y2="${height - 42}" stroke="#d9dee5"/>`,
      `<text x="${x(tick)}" y="${height - 26}" text-anchor="middle" fill="#55616f">${tick}</text>`,
    );
  events.forEach((event, i) => {
    const y0 = top + i * group;
    lines.push(
      `<text x="${left - 12}" y="${y0 + (designs.length * row) / 2 + 5}" text-anchor="end" fill="#16202c" font-weight="600">${escape(texts[event] ?? event)}</text>`,
    );
    designs.forEach((design, j) => {
      const y = y0 + j * row + row / 2;
      const of = report.measurements.filter((entry) => entry.design === design && entry.event === event);
      const color = colors[design] ?? "#000";
      if (of.length === 0)
        return void lines.push(`<text x="${x(0) + 6}" y="${y + 4}" fill="#55616f" font-size="11">not run</text>`);
      const middle = blocks(median(of.map((entry) => entry.seconds)));
      lines.push(
        `<rect x="${x(0)}" y="${y - 5}" width="${x(middle) - x(0)}" height="10" fill="${color}" opacity="0.35"/>`,
      );
      for (const entry of of.filter(({ failedOver }) => failedOver))
        lines.push(`<circle cx="${x(blocks(entry.seconds)).toFixed(1)}" cy="${y}" r="3" fill="${color}"/>`);
      const never = of.filter(({ failedOver }) => !failedOver).length;
      if (never > 0)
        lines.push(
          `<path d="M${x(limit)} ${y - 8} l12 8 l-12 8 z" fill="${color}"/>`,
          `<text x="${x(0) + 6}" y="${y + 4}" fill="#16202c" font-size="11">no failover in ${never} of ${of.length}</text>`,
        );
    });
  });
  const legend = designs.map((design, i) => {
    const before = designs.slice(0, i).map((other) => names[other] ?? other);
    const at = left + before.reduce((sum, name) => sum + 36 + 6.6 * name.length, 0);
    return `<rect x="${at}" y="34" width="12" height="12" fill="${colors[design]}"/><text x="${at + 17}" y="44" fill="#16202c">${escape(names[design] ?? design)}</text>`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="system-ui, sans-serif" font-size="12" role="img" aria-labelledby="t d">`,
    `<title id="t">Time without a signature</title>`,
    `<desc id="d">Block times from the last signature before an event to the first after it, for each design; a dot is a run, a bar ends at the median.</desc>`,
    `<rect width="100%" height="100%" fill="#ffffff"/>`,
    `<text x="${left}" y="20" fill="#16202c" font-size="14" font-weight="600">From the last signature before to the first after, in block times</text>`,
    ...legend,
    ...lines,
    `<text x="${left}" y="${height - 8}" fill="#55616f">blocks every ${report.blockSeconds} s, declared start time of the daemon ${report.doubleStartSeconds.toFixed(2)} s${report.scale === 1 ? "" : ", all timings scaled alike"}</text>`,
    `</svg>`,
    "",
  ].join("\n");
}
