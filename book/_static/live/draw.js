// Small pictures on a canvas, in the book's colours, light and dark. A test compares the
// colours with those of moe_lib.plotting.

export const CLUSTER_COLORS = ["#0A68A7", "#D85F00", "#008B59", "#CC79A7", "#409CD0", "#B76430"];
export const EXPERT_COLORS = [
  "#332288",
  "#609CBB",
  "#148160",
  "#E87430",
  "#A19557",
  "#D86D7F",
  "#A63E92",
  "#63636F",
];
export const MODEL_COLORS = { linear: "#5B6770", cubic: "#B3261E" };

export const cycle = (values, index) => values[index % values.length];

const channels = (color) => [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));

/** A colour between `from` (share 0) and `to` (share 1), both as #rrggbb. */
export function mix(from, to, share) {
  const [a, b] = [channels(from), channels(to)];
  const hex = (value) => Math.round(value).toString(16).padStart(2, "0");
  return "#" + a.map((value, i) => hex(value + share * (b[i] - value))).join("");
}

/** Relative luminance of a colour, as WCAG defines it. */
export function luminance(color) {
  const linear = channels(color).map((value) => {
    const s = value / 255;
    return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
}

export const contrast = (a, b) => {
  const [low, high] = [luminance(a), luminance(b)].sort((p, q) => p - q);
  return (high + 0.05) / (low + 0.05);
};

/** The page's inks: of text, of what is less important, of rules and of the paper. */
export function inks() {
  const dark = document.documentElement.dataset.theme === "dark";
  return dark
    ? { dark, text: "#e6e6e6", muted: "#a9b1ba", rule: "#444c56", paper: "#14181e" }
    : { dark, text: "#222222", muted: "#5f6670", rule: "#d0d4d9", paper: "#ffffff" };
}

/** A colour moved towards the text's until it stands out from the paper, at least 3:1. */
export function legible(color, { text, paper }, least = 3) {
  let share = 0;
  while (contrast(mix(color, text, share), paper) < least && share < 1) share += 0.05;
  return mix(color, text, Math.min(share, 1));
}

/**
 * A canvas that fills its holder's width and paints itself again when its size, the
 * colour scheme or its data change.
 * @param height of the picture in pixels, from its width
 * @param paint called as paint(context, { width, height, inks, data })
 */
export class Picture {
  constructor(canvas, { height, paint }) {
    Object.assign(this, { canvas, height, paint, data: null });
    new ResizeObserver(() => this.redraw()).observe(canvas.parentElement);
    new MutationObserver(() => this.redraw()).observe(document.documentElement, {
      attributeFilter: ["data-theme"],
    });
  }

  show(data) {
    this.data = data;
    this.redraw();
  }

  redraw() {
    const width = this.canvas.parentElement.clientWidth;
    if (!this.data || !width) return;
    const height = this.height(width, this.data);
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const [pixelWidth, pixelHeight] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.canvas.width !== pixelWidth || this.canvas.height !== pixelHeight) {
      Object.assign(this.canvas, { width: pixelWidth, height: pixelHeight });
      Object.assign(this.canvas.style, { width: "100%", height: `${height}px` });
    }
    const context = this.canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.font = font(12);
    context.lineJoin = "round";
    this.paint(context, { width, height, inks: inks(), data: this.data });
  }
}

export const font = (size, weight = "") => `${weight} ${size}px system-ui, sans-serif`;

/** Map a number in `domain` to a pixel in `range`. */
export const scale = ([low, high], [start, end]) => (value) =>
  start + ((value - low) / (high - low)) * (end - start);

/** Words at a place; a halo in the paper's colour lifts them off what lies below. */
export function text(context, words, x, y, style) {
  const { color, align = "left", baseline = "middle", halo } = style;
  Object.assign(context, { fillStyle: color, textAlign: align, textBaseline: baseline });
  if (halo) {
    Object.assign(context, { strokeStyle: halo, lineWidth: 4 });
    context.strokeText(words, x, y);
  }
  context.fillText(words, x, y);
}

export function line(context, xs, ys, { color, width = 1.75, dash = [] }) {
  context.beginPath();
  xs.forEach((x, i) => (i ? context.lineTo(x, ys[i]) : context.moveTo(x, ys[i])));
  Object.assign(context, { strokeStyle: color, lineWidth: width });
  context.setLineDash(dash);
  context.stroke();
  context.setLineDash([]);
}

/** A disc, or a cross where `crossed`. */
export function mark(context, x, y, radius, { color, crossed = false }) {
  context.beginPath();
  if (crossed) {
    context.moveTo(x - radius, y - radius);
    context.lineTo(x + radius, y + radius);
    context.moveTo(x - radius, y + radius);
    context.lineTo(x + radius, y - radius);
    Object.assign(context, { strokeStyle: color, lineWidth: 1.5 });
    context.stroke();
  } else {
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.fillStyle = color;
    context.fill();
  }
}

/** Axes of a plot: rules across at `ticks` with their labels; returns the two scales. */
export function axes(context, frame, { x, y, xTicks, yTicks, inks: ink }) {
  const { left, right, top, bottom } = frame;
  const [sx, sy] = [scale(x, [left, right]), scale(y, [bottom, top])];
  for (const [value, label] of yTicks) {
    line(context, [left, right], [sy(value), sy(value)], { color: ink.rule, width: 1 });
    text(context, label, left - 6, sy(value), { color: ink.muted, align: "right" });
  }
  for (const [value, label] of xTicks) {
    text(context, label, sx(value), bottom + 12, { color: ink.muted, align: "center" });
  }
  return [sx, sy];
}

/**
 * Bars for each expert, one for each cluster, in rows with a scale each.
 * @param rows of { title, values [M][K], range: all the numbers that the scale must hold }
 */
export function clusterBars(context, { width, height, inks: ink, rows }) {
  const experts = rows[0].values.length;
  const deep = (height - 20) / rows.length;
  const slot = width / experts;
  rows.forEach(({ title, values, range }, row) => {
    const top = row * deep;
    const [low, high] = [Math.min(0, ...range), Math.max(...range)];
    const y = scale([low, high], [top + deep - 10, top + 20]);
    text(context, title, 0, top + 8, { color: ink.text });
    text(context, `scale to ${high.toFixed(1)}`, width, top + 8, { color: ink.muted, align: "right" });
    line(context, [0, width], [y(0), y(0)], { color: ink.rule, width: 1 });
    values.forEach((bars, m) => {
      const wide = Math.min(12, (0.76 * slot) / bars.length);
      const start = slot * (m + 0.5) - (wide * bars.length) / 2;
      bars.forEach((value, k) => {
        context.fillStyle = legible(cycle(CLUSTER_COLORS, k), ink);
        context.fillRect(start + k * wide, y(0), wide - 1, y(value) - y(0));
      });
    });
  });
  context.font = font(12, "600");
  for (let m = 0; m < experts; m++) {
    const words = slot < 60 ? `${m}` : `expert ${m}`;
    const color = legible(cycle(EXPERT_COLORS, m), ink, 4.5);
    text(context, words, slot * (m + 0.5), height - 8, { color, align: "center" });
  }
}

/**
 * Fill a table with who gets what: a row for each cluster, a column for each expert,
 * the share of the cluster in percent. Cells are kept, so that an update is cheap.
 */
export function dispatchTable(table, counts) {
  const [K, M] = [counts.length, counts[0].length];
  const now = inks();
  if (table.rows.length !== K + 1 || table.rows[0].cells.length !== M + 1) {
    const heads = counts[0].map((_, m) => `<th scope="col"><b>${m}</b></th>`).join("");
    const row = (_, k) =>
      `<tr><th scope="row"><b>${k}</b></th>${counts[k].map(() => "<td></td>").join("")}</tr>`;
    table.tHead.innerHTML = `<tr><td><small>cluster \\ expert</small></td>${heads}</tr>`;
    table.tBodies[0].innerHTML = counts.map(row).join("");
  }
  // Cells are grey, so that no colour of a cluster looks like one of an expert.
  const fill = (style, ground) => {
    const dark = contrast(ground, "#ffffff") > contrast(ground, "#000000");
    Object.assign(style, { background: ground, color: dark ? "#ffffff" : "#000000" });
  };
  const chip = (cell, color) => fill(cell.firstChild.style, legible(color, now));
  counts[0].forEach((_, m) => chip(table.rows[0].cells[m + 1], cycle(EXPERT_COLORS, m)));
  counts.forEach((row, k) => {
    const cells = table.rows[k + 1].cells;
    chip(cells[0], cycle(CLUSTER_COLORS, k));
    const total = Math.max(1, row.reduce((sum, count) => sum + count, 0));
    row.forEach((count, m) => {
      const share = count / total;
      fill(cells[m + 1].style, mix(now.paper, now.text, 0.8 * share));
      cells[m + 1].textContent = share < 0.005 ? "" : `${Math.round(100 * share)}`;
    });
  });
}
