// A factorial design: throw switches, and see a cell of it among all others.

import { element } from "./controls.js";
import { MODEL_COLORS, Picture, axes, font, legible, line, mark, mix, text } from "./draw.js";

const KINDS = ["linear", "cubic"];
const ROW = 62; // pixels for each kind of experts

const signed = (value, digits) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(digits)}`;

/** The cell of the positions of all switches, the first one slowest. */
const at = (cells, switches, positions) =>
  cells[positions.reduce((index, position, i) => index * switches[i].options.length + position, 0)];

/** One quantity: each cell a tick, the chosen one a disc with its interval. */
function drawStrip(context, { width, height, inks, data: { cells, now, before, quantity } }) {
  const { name, range, ticks, digits } = quantity;
  const frame = { left: 10, right: width - 10, top: 26, bottom: height - 24 };
  const [sx] = axes(context, frame, { x: range, y: [0, 1], xTicks: ticks, yTicks: [], inks });
  const inside = (value) => sx(Math.min(range[1], Math.max(range[0], value)));
  text(context, name, 0, 9, { color: inks.text });
  KINDS.forEach((kind, row) => {
    const color = legible(MODEL_COLORS[kind], inks, 4.5);
    const y = frame.top + ROW * (row + 0.6);
    line(context, [frame.left, frame.right], [y, y], { color: inks.rule, width: 1 });
    for (const cell of cells) {
      const x = inside(cell[kind][name][0]);
      line(context, [x, x], [y - 6, y + 6], { color: mix(inks.paper, color, 0.5), width: 1.25 });
    }
    const [mean, half] = now[kind][name];
    const x = inside(mean);
    if (before) {
      const from = inside(before[kind][name][0]);
      line(context, [from, x], [y, y], { color, width: 1.25, dash: [3, 3] });
      mark(context, from, y, 5, { color });
      mark(context, from, y, 3.5, { color: inks.paper });
    }
    line(context, [inside(mean - half), inside(mean + half)], [y, y], { color, width: 3.5 });
    mark(context, x, y, 6, { color });
    const align = x > width * 0.75 ? "right" : x < width * 0.25 ? "left" : "center";
    const words = `${kind} ${mean.toFixed(digits)} ± ${half.toFixed(digits)}`;
    context.font = font(12, "600");
    const beside = { left: -6, center: 0, right: 6 }[align];
    text(context, words, x + beside, y - 17, { color, align, halo: inks.paper });
    context.font = font(12);
  });
}

export function render(holder, { switches, cells, quantities, start }) {
  const positions = [...start];
  const panel = element("div", { class: "live-switches" });
  const panes = element("div", { class: "live-panes" });
  const say = element("p", { class: "live-say", role: "status" });
  holder.append(panel, panes, say);
  const pictures = quantities.map(() => {
    const canvas = element("canvas", { role: "img" });
    panes.append(element("div", {}, canvas));
    return new Picture(canvas, { height: () => 2 * ROW + 50, paint: drawStrip });
  });
  const buttons = switches.map(({ name, options }, i) => {
    const made = options.map((option, position) => {
      const one = element("button", { type: "button", class: "live-button" }, option);
      one.addEventListener("click", () => set(i, position));
      return one;
    });
    const row = element("div", { class: "live-choices" }, ...made);
    panel.append(element("div", { role: "group", "aria-label": name }, element("small", {}, name), row));
    return made;
  });

  function set(i, position) {
    if (positions[i] === position) return;
    const before = at(cells, switches, positions);
    positions[i] = position;
    show(before, `${switches[i].name}, now ${switches[i].options[position]}`);
  }

  function show(before, change) {
    const now = at(cells, switches, positions);
    buttons.forEach((made, i) =>
      made.forEach((one, position) => one.setAttribute("aria-pressed", positions[i] === position))
    );
    quantities.forEach((quantity, i) => {
      const words = KINDS.map((kind) => {
        const [mean, half] = now[kind][quantity.name].map((value) => value.toFixed(quantity.digits));
        return `${kind} experts ${mean} plus or minus ${half}`;
      });
      pictures[i].canvas.setAttribute("aria-label", `${quantity.name}: ${words.join(", ")}`);
      pictures[i].show({ cells, now, before, quantity });
    });
    const effects = KINDS.map((kind) => {
      const moved = ({ name, digits, unit }) =>
        `${signed(now[kind][name][0] - before[kind][name][0], digits)} ${unit}`;
      return before && `${kind} experts ${quantities.map(moved).join(", ")}`;
    });
    say.textContent = before
      ? `${change}: ${effects.join("; ")}.`
      : "Pale ticks are the other combinations. Throw a switch: an open disc stays where you were.";
  }

  show(null);
}
