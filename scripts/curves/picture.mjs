// A curve as SVG: a small panel for each value, over the same sizes. Plain enough to be read in a diff, and
// of either colour scheme.

const PANEL = { width: 380, height: 230 };
const PLOT = { left: 52, right: 26, top: 56, bottom: 42 };
const GAP = 16;
const HEAD = 40;

const STYLE = `
    .paper { fill: #ffffff }
    .grid { stroke: #d8dee4; stroke-width: 1 }
    .curve { fill: none; stroke: #0969da; stroke-width: 2 }
    .point { fill: #0969da }
    text { font: 11px system-ui, sans-serif; fill: #59636e }
    .title { font-size: 13px; font-weight: 600; fill: #1f2328 }
    .head { font-size: 15px; font-weight: 600; fill: #1f2328 }
    .label { fill: #1f2328; stroke: #ffffff; stroke-width: 4px; paint-order: stroke }
    .end { text-anchor: end }
    .middle { text-anchor: middle }
    @media (prefers-color-scheme: dark) {
      .paper { fill: #0d1117 }
      .grid { stroke: #30363d }
      .curve { stroke: #58a6ff }
      .point { fill: #58a6ff }
      text { fill: #9198a1 }
      .title, .head, .label { fill: #f0f6fc }
      .label { stroke: #0d1117 }
    }
  `;

/** The picture of `{ title, along, points: [{ size, … }], values: [{ key, title, unit }] }`. */
export function draw({ title, along, points, values }) {
  const width = 2 * PANEL.width + 3 * GAP;
  const height = HEAD + Math.ceil(values.length / 2) * (PANEL.height + GAP);
  const panels = values.map((value, place) => {
    const x = GAP + (place % 2) * (PANEL.width + GAP);
    const y = HEAD + Math.floor(place / 2) * (PANEL.height + GAP);
    return `  <g transform="translate(${x} ${y})">\n${panel(value, along, points)}\n  </g>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">
  <title>${escaped(title)}</title>
  <style>${STYLE}</style>
  <rect class="paper" width="${width}" height="${height}" rx="6"/>
  <text class="head" x="${GAP}" y="28">${escaped(title)}</text>
${panels.join('\n')}
</svg>
`;
}

/** One value over the sizes. */
function panel({ key, title, unit }, along, points) {
  const bottom = PANEL.height - PLOT.bottom;
  const right = PANEL.width - PLOT.right;
  const up = axis(points.map((point) => point[key]), bottom, PLOT.top);
  const across = sizes(points.map((point) => point.size), PLOT.left + 14, right - 14);
  const scale = up.isLog ? `${unit}, logarithmic` : unit;
  const lines = [`<text class="title" x="0" y="14">${escaped(title)}</text>`, `<text x="0" y="30">${escaped(scale)}</text>`];
  for (const tick of up.ticks) {
    const y = round(up.at(tick));
    lines.push(`<path class="grid" d="M${PLOT.left} ${y}H${right}"/>`);
    lines.push(`<text class="end" x="${PLOT.left - 6}" y="${round(y + 4)}">${short(tick)}</text>`);
  }
  for (const { size } of points) {
    lines.push(`<text class="middle" x="${round(across(size))}" y="${bottom + 16}">${short(size)}</text>`);
  }
  lines.push(`<text class="middle" x="${(PLOT.left + right) / 2}" y="${bottom + 33}">${escaped(along)}, logarithmic</text>`);
  const places = points.map((point) => ({ x: round(across(point.size)), y: round(up.at(point[key])), value: point[key] }));
  lines.push(`<path class="curve" d="M${places.map(({ x, y }) => `${x} ${y}`).join('L')}"/>`);
  for (const { x, y, value } of places) {
    lines.push(`<circle class="point" cx="${x}" cy="${y}" r="3.5"/>`);
    lines.push(`<text class="label middle" x="${x}" y="${round(y - 9)}">${short(value)}</text>`);
  }
  return lines.map((line) => `    ${line}`).join('\n');
}

/** Where a value is between `low` and `high`: from zero, unless the range is so large that small ones vanish. */
function axis(values, low, high) {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  if (least > 0 && most / least > 30) {
    const [from, to] = [Math.floor(Math.log10(least)), Math.ceil(Math.log10(most))];
    const ticks = Array.from({ length: to - from + 1 }, (_, k) => 10 ** (from + k));
    return { isLog: true, ticks, at: (value) => low + ((Math.log10(value) - from) / (to - from)) * (high - low) };
  }
  const step = even(Math.max(most, 0) / 4);
  const [from, to] = [Math.floor(Math.min(least, 0) / step), Math.max(1, Math.ceil((most * 1.15) / step))];
  const ticks = Array.from({ length: to - from + 1 }, (_, k) => (from + k) * step);
  return { isLog: false, ticks, at: (value) => low + ((value / step - from) / (to - from)) * (high - low) };
}

/** Sizes are always a factor apart, so they are logarithmic. */
function sizes(all, left, right) {
  const [from, to] = [Math.log10(Math.min(...all)), Math.log10(Math.max(...all))];
  return (size) => (from === to ? (left + right) / 2 : left + ((Math.log10(size) - from) / (to - from)) * (right - left));
}

/** The next of 1, 2, 2.5 and 5, times a power of ten. */
function even(step) {
  if (!(step > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(step));
  return [1, 2, 2.5, 5, 10].find((factor) => factor * power >= step * 0.999) * power;
}

/** 1500 as 1,500, 18500 as 18.5k, 0.30000000000000004 as 0.3. */
function short(value) {
  if (Math.abs(value) >= 10_000) return `${Number((value / 1_000).toPrecision(3))}k`;
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en-US');
  return String(Number(value.toPrecision(3)));
}

function round(place) {
  return Math.round(place * 10) / 10;
}

function escaped(text) {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
