// The ceiling of every sum of patch scores, for a decoy as strong as the reader makes it.

import { errorBound, exchangeable } from "./bound.js";
import { element, player } from "./controls.js";
import { Picture, axes, font, legible, line, mix, scale, text } from "./draw.js";

const [FROM, TO] = [1, 6]; // the slider's strongest decoys, in tenths
const decoy = (frame) => FROM + frame / 10;

/** The probability that the signal is the stronger one; both ranges start alike. */
export function signalWins(alpha, gamma) {
  const [a, g] = [alpha[1] - alpha[0], gamma[1] - gamma[0]];
  return g <= a ? 1 - g / a / 2 : a / g / 2;
}

/** The three lines at a strongest decoy, in percent: ceiling, twice the error, alike. */
function accuracies({ alpha, low }, strongest) {
  const lost = 100 * errorBound(alpha, [low, strongest]);
  return [100 - lost, 100 - 2 * lost, 50 + 50 * signalWins(alpha, [low, strongest])];
}

const CORNERS = {
  "◇": [[0, -7], [7, 0], [0, 7], [-7, 0]],
  "■": [[-4, -4], [4, -4], [4, 4], [-4, 4]],
  "▲": [[0, -5], [5, 4], [-5, 4]],
  "✚": [[-5, -2], [-2, -2], [-2, -5], [2, -5], [2, -2], [5, -2],
    [5, 2], [2, 2], [2, 5], [-2, 5], [-2, 2], [-5, 2]],
};

function drawSign(context, sign, x, y, { color, paper }) {
  const path = new Path2D();
  if (sign === "●") path.arc(x, y, 4.5, 0, 2 * Math.PI);
  else CORNERS[sign].forEach(([dx, dy]) => path.lineTo(x + dx, y + dy));
  path.closePath();
  Object.assign(context, { strokeStyle: color, lineWidth: 1.5 });
  context.fillStyle = sign === "◇" ? paper : color;
  context.fill(path);
  if (sign === "◇") context.stroke(path);
}

function drawAccuracies(context, { width, height, inks, data: { numbers, strongest } }) {
  const frame = { left: 30, right: width - 10, top: 30, bottom: height - 34 };
  const [sx, sy] = axes(context, frame, {
    x: [FROM, TO],
    y: [50, 100],
    xTicks: [1, 2, 3, 4, 5, 6].map((x) => [x, `${x}`]),
    yTicks: [50, 60, 70, 80, 90, 100].map((y) => [y, `${y}`]),
    inks,
  });
  const title = { color: inks.muted, align: "center" };
  text(context, "strongest decoy; accuracy in %", (width + 20) / 2, height - 8, title);
  const x = sx(strongest);
  line(context, [x, x], [frame.top - 8, frame.bottom], { color: inks.muted, width: 1 });
  const at = Array.from({ length: 10 * (TO - FROM) + 1 }, (_, frame) => decoy(frame));
  const curves = at.map((g) => accuracies(numbers, g));
  [[], [7, 3], [1.5, 3]].forEach((dash, i) => {
    line(context, at.map(sx), curves.map((now) => sy(now[i])), { color: inks.text, dash });
  });
  for (const { sign, color, at: where, value } of numbers.marks) {
    const style = { color: color ? legible(color, inks) : inks.text, paper: inks.paper };
    where.forEach((g, i) => drawSign(context, sign, sx(g), sy(value[i]), style));
  }
  const left = strongest > 4.5; // where there is no room on the right
  const style = { color: inks.text, align: left ? "right" : "left", halo: inks.paper };
  const say = (name, value, y) => {
    context.font = font(12, "600");
    text(context, value.toFixed(1), x + (left ? -9 : 9), y, style);
    context.font = font(12);
    text(context, name, x + (left ? -9 : 9), y + 15, style);
  };
  const [ceiling, twice, equal] = accuracies(numbers, strongest);
  context.font = font(12, "600");
  text(context, `ceiling ${ceiling.toFixed(1)}`, x + (left ? 4 : -4), 10, style);
  if (strongest > numbers.alpha[1]) {
    say("twice the error", twice, sy(twice) + (left ? 36 : 16));
    say("equal weights", equal, sy(equal) + (left ? 14 : -26));
  } else say("both lower lines", equal, sy(58));
}

function drawStrengths(context, { width, height, inks, data: { numbers, strongest } }) {
  const side = Math.min(width - 36, height - 64);
  const [left, top] = [22, 30];
  const [right, bottom] = [left + side, top + side];
  const [sx, sy] = [scale([0, TO], [left, right]), scale([0, TO], [bottom, top])];
  const title = { color: inks.muted, align: "center" };
  for (const tick of [0, 2, 4, 6]) {
    text(context, `${tick}`, sx(tick), bottom + 12, title);
    text(context, `${tick}`, left - 8, sy(tick), { color: inks.muted, align: "right" });
  }
  line(context, [left, left, right], [top, bottom, bottom], { color: inks.rule });
  text(context, "decoy's strength", 0, 10, { color: inks.muted });
  text(context, "signal's strength", (left + right) / 2, height - 8, title);
  const box = (x, y) => [sx(x[0]), sy(y[1]), sx(x[1]) - sx(x[0]), sy(y[0]) - sy(y[1])];
  const [alpha, gamma] = [numbers.alpha, [numbers.low, strongest]];
  const both = [Math.max(alpha[0], gamma[0]), Math.min(alpha[1], gamma[1])];
  context.fillStyle = mix(inks.paper, inks.text, 0.28);
  context.fillRect(...box(both, both));
  Object.assign(context, { strokeStyle: inks.text, lineWidth: 1.75 });
  context.strokeRect(...box(alpha, gamma));
  context.setLineDash([4, 3]);
  context.strokeRect(...box(gamma, alpha));
  context.setLineDash([]);
  const style = { color: inks.text, align: strongest > 3.2 ? "right" : "left" };
  const end = sx(Math.max(alpha[1], strongest)) + (strongest > 3.2 ? -6 : 6);
  text(context, "exchanged", end, sy(1.25), style);
  const label = { color: inks.text };
  if (strongest > 2.4) text(context, "as they come", sx(alpha[1]) + 6, sy(strongest) + 8, label);
}

export function render(holder, numbers) {
  const canvas = () => element("canvas", { role: "img" });
  const [strengths, curves] = [canvas(), canvas()];
  const panes = [strengths, curves].map((picture) => element("div", {}, picture));
  holder.append(element("div", { class: "live-panes" }, ...panes));
  const say = element("p", { class: "live-say" });
  const signs = numbers.marks.map(({ sign }) => element("span", { "aria-hidden": "true" }, sign));
  const found = numbers.marks.map(() => element("b"));
  const key = numbers.marks.map(({ name }, i) => element("li", {}, signs[i], ` ${name} `, found[i]));
  const transport = element("div");
  holder.prepend(transport);
  const pictures = [
    new Picture(strengths, { height: (width) => Math.min(width, 300), paint: drawStrengths }),
    new Picture(curves, {
      height: () => 300,
      paint: (context, view) => {
        drawAccuracies(context, view);
        numbers.marks.forEach(({ color }, i) => {
          signs[i].style.color = color ? legible(color, view.inks) : "inherit";
        });
      },
    }),
  ];
  player(transport, {
    last: 10 * (TO - FROM),
    start: Math.round(10 * (numbers.start - FROM)),
    label: "Strongest decoy",
    describe: (frame) => `strongest decoy ${decoy(frame).toFixed(1)}`,
    show(frame) {
      const strongest = decoy(frame);
      const share = `${(100 * exchangeable(numbers.alpha, [numbers.low, strongest])).toFixed(0)} %`;
      const values = accuracies(numbers, strongest).map((value) => `${value.toFixed(1)} %`);
      say.textContent =
        `In ${share} of all examples signal and decoy could exchange their strengths. ` +
        `An eighth of these is lost: the ceiling is ${values[0]}.`;
      strengths.setAttribute(
        "aria-label",
        `Strengths of signal and decoy as a rectangle, which shares ${share} with its mirror image`
      );
      curves.setAttribute(
        "aria-label",
        `Accuracy with decoys up to ${strongest.toFixed(1)}: ceiling ${values[0]}, ` +
          `twice the error ${values[1]}, equal weights ${values[2]}`
      );
      numbers.marks.forEach(({ at, value }, i) => {
        const hit = at.findIndex((g) => Math.abs(g - strongest) < 1e-6);
        found[i].textContent = hit < 0 ? "" : value[hit].toFixed(1);
      });
      pictures.forEach((picture) => picture.show({ numbers, strongest }));
    },
  });
  holder.append(say, element("ul", { class: "live-key" }, ...key));
}
