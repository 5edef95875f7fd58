// A run at any kept step: who gets which example, and what weights have learned by then.

import { element, player } from "./controls.js";
import {
  CLUSTER_COLORS,
  EXPERT_COLORS,
  Picture,
  axes,
  clusterBars,
  cycle,
  dispatchTable,
  font,
  legible,
  line,
  mark,
  scale,
  text,
} from "./draw.js";

const SPAN = 1000; // of the map's coordinates

function drawMap(context, { width, height, inks, data: { points, clusters, run, frame } }) {
  const [sx, sy] = [scale([0, SPAN], [8, width - 8]), scale([0, SPAN], [height - 8, 22])];
  const colors = EXPERT_COLORS.map((color) => legible(color, inks));
  const tops = [];
  points.forEach(([x, y], i) => {
    mark(context, sx(x), sy(y), 2.8, { color: colors[run.chosen[frame][i]] });
    (tops[clusters[i]] ??= []).push([y, x]);
  });
  context.font = font(12, "600");
  tops.forEach((list, k) => {
    const x = list.reduce((sum, point) => sum + point[1], 0) / list.length;
    const y = Math.max(...list.filter((point) => Math.abs(point[1] - x) < 150).map(([at]) => at));
    const color = legible(cycle(CLUSTER_COLORS, k), inks, 4.5);
    text(context, `cluster ${k}`, sx(x), sy(y) - 12, { color, align: "center", halo: inks.paper });
  });
}

function drawEntropy(context, { width, height, inks, data: { run, steps, frame } }) {
  const most = Math.log(run.counts[0].length);
  const last = steps.at(-1);
  const [sx, sy] = axes(context, { left: 34, right: width - 14, top: 30, bottom: height - 22 }, {
    x: [0, last],
    y: [0, most],
    xTicks: [0, 100, 200, last].map((step) => [step, `${step}`]),
    yTicks: [
      [0, "0"],
      [most, "ln 4"],
    ],
    inks,
  });
  text(context, "dispatch entropy under noise", 0, 10, { color: inks.text });
  line(context, steps.map(sx), run.entropy.map(sy), { color: inks.text });
  const [x, y] = [sx(steps[frame]), sy(run.entropy[frame])];
  mark(context, x, y, 4.5, { color: inks.text });
  const style = { color: inks.text, align: x > width - 50 ? "right" : "left", halo: inks.paper };
  text(context, run.entropy[frame].toFixed(2), x + (x > width - 50 ? -8 : 8), y - 9, style);
}

/** Three rows of bars, an expert in each column, a cluster in each colour. */
function drawBars(context, { width, height, inks, data: { run, frame } }) {
  const routers = [...run.center.flat(2), ...run.feature.flat(2)];
  const rows = [
    ["best filter along the feature signals", run.filters, run.filters.flat(2)],
    ["router along the cluster centres", run.center, routers],
    ["router along the feature signals", run.feature, routers],
  ].map(([title, values, range]) => ({ title, values: values[frame], range }));
  clusterBars(context, { width, height, inks, rows });
}

export function render(holder, { points, clusters, steps, runs }) {
  const [map, entropy, bars] = [1, 2, 3].map(() => element("canvas", { role: "img" }));
  const table = element(
    "table",
    { class: "live-dispatch", "aria-label": "Percent of each cluster that an expert gets" },
    element("thead"),
    element("tbody")
  );
  const say = element("p", { class: "live-say" });
  const [choice, transport] = [element("div", { class: "live-choices" }), element("div", { class: "live-stay" })];
  holder.append(
    choice,
    transport,
    say,
    element(
      "div",
      { class: "live-panes" },
      element("div", {}, map),
      element("div", {}, table, element("div", {}, entropy))
    ),
    element("div", {}, bars)
  );
  const pictures = [
    new Picture(map, { height: (width) => Math.min(width, 330), paint: drawMap }),
    new Picture(entropy, {
      height: () => 130,
      paint(context, view) {
        drawEntropy(context, view);
        dispatchTable(table, view.data.run.counts[view.data.frame]); // in the scheme's inks
      },
    }),
    new Picture(bars, { height: () => 300, paint: drawBars }),
  ];
  let [run, frame] = [runs[0], 0];
  const show = () => {
    const [now, fed] = [run.entropy[frame], run.counts[frame]];
    const busy = fed[0].filter((_, m) => fed.reduce((sum, row) => sum + row[m], 0) > 40).length;
    const where = `${run.name} experts, step ${steps[frame]}`;
    say.textContent =
      `Right without noise: ${run.accuracy[frame].toFixed(1)} %. Entropy under noise: ` +
      `${now.toFixed(2)} nats. Experts with more than 1 % of the examples: ${busy}.`;
    map.setAttribute("aria-label", `Map of ${points.length} test examples by expert: ${where}`);
    entropy.setAttribute("aria-label", `Dispatch entropy over the steps: ${now.toFixed(2)} at ${where}`);
    const best = run.filters[frame].map((row) => row.indexOf(Math.max(...row)));
    bars.setAttribute(
      "aria-label",
      `Alignments of ${where}: the experts 0 to ${best.length - 1} point best to the ` +
        `clusters ${best.join(", ")}`
    );
    pictures.forEach((picture) => picture.show({ points, clusters, steps, run, frame }));
  };
  const buttons = runs.map((one) => {
    const made = element("button", { type: "button", class: "live-button" }, `${one.name} experts`);
    made.addEventListener("click", () => choose(one));
    return made;
  });
  const choose = (one) => {
    run = one;
    buttons.forEach((made, i) => made.setAttribute("aria-pressed", runs[i] === run));
    show();
  };
  choice.append(...buttons);
  choose(run);
  player(transport, {
    last: steps.length - 1,
    label: "Training step",
    describe: (at) => `step ${steps[at]}`,
    show(at) {
      frame = at;
      show();
    },
  });
}
