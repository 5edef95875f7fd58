// Training and its equations on one clock: curves up to the step that the reader picks.

import { element, player } from "./controls.js";
import { CLUSTER_COLORS, MODEL_COLORS, Picture, axes, cycle, font, legible, line, mark, mix, text } from "./draw.js";

const [TOP, TALL, GAP] = [44, 104, 42]; // above the panels, of each, between two
const DASH = [4, 3];
const short = (value) => value.toFixed(2);
const largest = (curves, at) => Math.max(...curves.map((values) => values[at]));

/** Which stage a dispatch entropy is of, by the thresholds of the chapter. */
export function stage(entropy, most) {
  if (entropy > 0.9 * most) return "exploration";
  return entropy > 0.1 * most ? "router learning" : "settled";
}

/** Each panel: what is measured, its axis, the trained curves and those of the equations. */
function panels({ experts, second, router, load, entropy, committed, most, noise }) {
  const byCluster = committed.map((k) => cycle(CLUSTER_COLORS, k));
  const log = (curves) => curves.map((values) => values.map((v) => Math.log10(Math.max(v, 1e-9))));
  return [
    {
      title: "each expert along the signal of its cluster",
      y: [0, 1.7],
      yTicks: [0, 0.5, 1, 1.5].map((v) => [v, `${v}`]),
      ...experts,
      colors: byCluster,
      quiet: second,
      words: [
        [2, 1.45, "solid: trained"],
        [2, 1.2, "dashed: equations"],
      ],
    },
    {
      title: "the router's best along each cluster centre",
      y: [-6, 1],
      yTicks: [-6, -4, -2, 0].map((v) => [v, ["10⁻⁶", "10⁻⁴", "0.01", "1"][(v + 6) / 2]]),
      trained: log(router.trained),
      equations: log(router.equations),
      colors: CLUSTER_COLORS,
      level: Math.log10(noise),
      words: [[2, Math.log10(noise) + 0.6, "as loud as the noise"]],
    },
    {
      title: "share of all examples that an expert gets",
      y: [0, 0.3],
      yTicks: [0, 0.1, 0.2, 0.3].map((v) => [v, `${v}`]),
      ...load,
      colors: byCluster,
    },
    {
      title: "dispatch entropy",
      y: [0, most],
      yTicks: [
        [0, "0"],
        [most, "ln 4"],
      ],
      trained: [entropy.trained],
      equations: [entropy.equations],
      colors: [MODEL_COLORS.cubic],
    },
  ];
}

function draw(context, { width, inks, data: { steps, all, at, name, turn } }) {
  const last = steps.at(-1);
  all.forEach(({ title, y, yTicks, trained, equations, colors, level, quiet = [], words = [] }, i) => {
    const top = TOP + i * (TALL + GAP);
    const frame = { left: 40, right: width - 14, top, bottom: top + TALL };
    const xTicks = i < all.length - 1 ? [] : [0, 40, 80, 120, last].map((x) => [x, `${x}`]);
    const [sx, sy] = axes(context, frame, { x: [0, last], y, xTicks, yTicks, inks });
    const [start, stop, now] = [...turn, at].map((frame) => sx(steps[frame]));
    context.fillStyle = mix(inks.paper, inks.text, 0.06);
    context.fillRect(start, top, stop - start, TALL);
    line(context, [now, now], [top - 4, frame.bottom], { color: inks.muted, width: 1 });
    text(context, title, 0, top - 15, { color: inks.text });
    if (level) line(context, [frame.left, frame.right], [sy(level), sy(level)], { color: inks.muted, width: 1 });
    for (const [x, y, said] of words) text(context, said, sx(x), sy(y), { color: inks.muted });
    context.save();
    context.beginPath();
    context.rect(frame.left, top - 2, frame.right - frame.left, TALL + 3);
    context.clip(); // a logarithm begins far below
    const trace = (values, color, style) => {
      const [xs, ys] = [steps.map(sx), values.map(sy)];
      line(context, xs.slice(at), ys.slice(at), { ...style, color: mix(inks.paper, color, 0.3) });
      line(context, xs.slice(0, at + 1), ys.slice(0, at + 1), { ...style, color });
    };
    const inked = trained.map((_, j) => legible(cycle(colors, j), inks));
    quiet.forEach((values) => trace(values, inks.muted, { width: 0.8 }));
    trained.forEach((values, j) => trace(values, inked[j], { width: 1.75 }));
    equations.forEach((values) => trace(values, inks.text, { width: 1.1, dash: DASH }));
    context.restore();
    trained.forEach((values, j) => {
      if (values[at] >= y[0]) mark(context, now, sy(values[at]), 3.5, { color: inked[j] });
    });
  });
  context.font = font(12, "600");
  const x = 40 + ((width - 54) * steps[at]) / last;
  const align = x > width - 70 ? "right" : x < 70 ? "left" : "center";
  text(context, name, x, 8, { color: inks.text, align });
}

export function render(holder, numbers) {
  const { steps, entropy, router, load, most, noise, clusters = router.trained.length } = numbers;
  const canvas = element("canvas", { role: "img" });
  const [transport, say] = [element("div", { class: "live-stay" }), element("p", { class: "live-say" })];
  const signs = Array.from({ length: clusters }, () => element("span", { "aria-hidden": "true" }, "■"));
  const key = signs.map((sign, k) => element("li", {}, sign, ` cluster ${k}`));
  const list = element("ul", { class: "live-key" }, ...key);
  holder.append(transport, say, element("div", {}, canvas), list);
  const all = panels(numbers);
  const turn = [0.9, 0.1].map((share) => entropy.trained.findIndex((value) => value <= share * most));
  const picture = new Picture(canvas, {
    height: () => TOP + all.length * (TALL + GAP) - GAP + 26,
    paint(context, view) {
      draw(context, view);
      signs.forEach((sign, k) => (sign.style.color = legible(cycle(CLUSTER_COLORS, k), view.inks)));
    },
  });
  player(transport, {
    last: steps.length - 1,
    start: steps.length - 1,
    label: "Training step",
    describe: (at) => `step ${steps[at]}: ${stage(entropy.trained[at], most)}`,
    show(at) {
      const name = stage(entropy.trained[at], most);
      const pair = ({ trained, equations }, words) => `${words(trained)} (equations ${words(equations)})`;
      const said =
        `Entropy in nats: ${pair(entropy, (values) => values[at].toFixed(2))}. ` +
        `Best alignment of the router: ${pair(router, (curves) => short(largest(curves, at)))}, ` +
        `noise: ${short(noise)}. Busiest expert: ` +
        `${pair(load, (curves) => `${(100 * largest(curves, at)).toFixed(0)}\u00a0%`)}.`;
      say.textContent = said;
      canvas.setAttribute("aria-label", `Four panels up to step ${steps[at]}, ${name}. ${said}`);
      picture.show({ steps, all, at, name, turn });
    },
  });
}
