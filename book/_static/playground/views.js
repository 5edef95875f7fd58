// What the page shows of a run: pictures on canvases, a table, and one sentence.

import {
  CLUSTER_COLORS,
  EXPERT_COLORS,
  axes,
  clusterBars,
  cycle,
  font,
  legible,
  line,
  mark,
  mix,
  scale,
  text,
} from "../live/draw.js";

const GAP = 12; // between boxes
const [AXIS, HEAD, FOOT] = [16, 22, 20]; // beside, above and below them
const LEAST_BAR = 0.1; // no scale is finer, so that what does not grow is not seen to
export const percent = (share) => `${(100 * share).toFixed(1)} %`;

/** A box for each cluster: own signal across, feature noise up, on one scale. */
export const examplesPicture = {
  height(width, { settings }) {
    const { side, columns } = boxesIn(width, settings);
    return Math.ceil(settings.K / columns) * (side + HEAD) + FOOT;
  },
  paint(context, { width, height, inks, data: { settings, points } }) {
    const { side, columns } = boxesIn(width, settings);
    const most = 1.06 * Math.max(settings.alpha[1], settings.gamma[1]);
    const colors = EXPERT_COLORS.map((color) => legible(color, inks));
    const middle = { color: inks.rule, width: 1 };
    const diagonal = { color: inks.muted, width: 1, dash: [2, 3] }; // where signals are equal
    const boxes = Array.from({ length: settings.K }, (_, k) => {
      const left = AXIS + (k % columns) * (side + GAP);
      const top = Math.floor(k / columns) * (side + HEAD) + HEAD;
      const [right, bottom] = [left + side, top + side];
      context.fillStyle = mix(inks.paper, inks.text, 0.035);
      context.fillRect(left, top, side, side);
      line(context, [left + side / 2, left + side / 2], [top, bottom], middle);
      line(context, [left, right], [top, bottom], diagonal);
      line(context, [left, right], [bottom, top], diagonal);
      context.font = font(12, "600");
      const color = legible(cycle(CLUSTER_COLORS, k), inks, 4.5);
      text(context, `cluster ${k}`, left, top - 9, { color });
      return [scale([-most, most], [left, right]), scale([-most, most], [bottom, top])];
    });
    points.cluster.forEach((k, i) => {
      const [x, y] = boxes[k];
      mark(context, x(points.feature[i]), y(points.featureNoise[i]), points.right[i] ? 2.6 : 3, {
        color: cycle(colors, points.expert[i]),
        crossed: !points.right[i],
      });
    });
    context.font = font(11);
    const label = { color: inks.muted, align: "center" };
    for (let column = 0; column < Math.min(columns, settings.K); column++) {
      const middle = AXIS + column * (side + GAP) + side / 2;
      text(context, "label −1", middle - side / 4, height - 8, label);
      text(context, "label +1", middle + side / 4, height - 8, label);
    }
    context.rotate(-Math.PI / 2);
    for (let top = HEAD; top + side < height; top += side + HEAD) {
      text(context, "− feature noise +", -top - side / 2, 7, label);
    }
    context.rotate(Math.PI / 2);
  },
};

/** Boxes are square and fill the width, two or three in a row. */
function boxesIn(width, { K }) {
  const columns = Math.ceil(Math.sqrt(K));
  return { columns, side: Math.min(250, (width - AXIS - GAP * (columns - 1)) / columns) };
}

/** Accuracies with the ceiling of a single expert, and the dispatch entropy, over steps. */
export const curvesPicture = {
  height: (width, { router }) => (router.length ? 306 : 168),
  paint(context, { width, inks, data }) {
    const { settings, history, ceiling, last } = data;
    const frame = { left: 42, right: width - 14 };
    const x = [0, last];
    const xTicks = [[0, "0"]];
    const mixture = data.router.length > 0;
    const red = legible("#B3261E", inks, 4.5);
    context.font = font(11);

    const upper = { ...frame, top: 38, bottom: 146 };
    const yTicks = [0.5, 0.75, 1].map((share) => [share, `${100 * share} %`]);
    const [sx, sy] = axes(context, upper, { x, y: [0.45, 1], xTicks: mixture ? [] : xTicks, yTicks, inks });
    const clamp = (share) => sy(Math.max(0.45, share));
    const at = (steps) => steps.map(sx);
    line(context, at(history.steps), history.trainAccuracy.map(clamp), {
      color: mix(inks.paper, inks.text, 0.35),
      width: 1.25,
    });
    if (ceiling) {
      const level = sy(ceiling);
      line(context, [frame.left, frame.right], [level, level], { color: red, dash: [5, 4] });
    }
    line(context, at(history.testSteps), history.testAccuracy.map(clamp), {
      color: inks.text,
      width: 2.25,
    });
    if (ceiling) {
      const words = `dashed: ceiling of any single expert, held-out, ${percent(ceiling)}`;
      text(context, words, 0, 22, { color: red });
    }
    text(context, "accuracy: held-out (bold), training under noise (thin)", 0, 8, { color: inks.text });

    const end = (bottom) =>
      text(context, `${last} steps`, frame.right, bottom + 12, { color: inks.muted, align: "right" });
    if (!mixture) return end(upper.bottom); // a single expert: nothing is dispatched
    const lower = { ...frame, top: 190, bottom: 282 };
    const most = Math.log(settings.K);
    const [ex, ey] = axes(context, lower, {
      x,
      y: [0, most],
      xTicks,
      yTicks: [
        [0, "0"],
        [most, `ln ${settings.K}`],
      ],
      inks,
    });
    line(context, history.steps.map(ex), history.entropy.map(ey), { color: inks.text, width: 2.25 });
    end(lower.bottom);
    line(context, history.testSteps.map(ex), history.testEntropy.map(ey), {
      color: mix(inks.paper, inks.text, 0.5),
      width: 1.25,
    });
    text(context, "dispatch entropy: under noise (bold), held-out (thin)", 0, 172, { color: inks.text });
  },
};

/** Bars for each expert: its best filter along each v_k, its router row along each c_k. */
export const barsPicture = {
  height: (width, { router }) => (router.length ? 236 : 130),
  paint(context, { width, height, inks, data: { experts, router } }) {
    const row = (title, values) => ({ title, values, range: [LEAST_BAR, ...values.flat()] });
    const rows = [row("best filter along the feature signals", experts)];
    if (router.length) rows.push(row("router along the cluster centres", router));
    context.font = font(11);
    clusterBars(context, { width, height, inks, rows });
  },
};

/** The least share of one cluster in an expert, of experts with 1 % of the examples. */
function purity(counts) {
  const columns = counts[0].map((_, m) => counts.map((row) => row[m]));
  const sums = columns.map((column) => column.reduce((a, b) => a + b, 0));
  const total = sums.reduce((a, b) => a + b, 0);
  const inUse = columns.filter((_, m) => sums[m] >= 0.01 * total);
  return Math.min(...inUse.map((column) => Math.max(...column) / column.reduce((a, b) => a + b, 0)));
}

/** Of the crosses, the share where the feature noise is louder and says the opposite. */
function misled({ right, feature, featureNoise }) {
  const wrong = [...right.keys()].filter((i) => !right[i]);
  const louder = wrong.filter((i) => -featureNoise[i] * Math.sign(feature[i]) > Math.abs(feature[i]));
  return louder.length / wrong.length;
}

/** What is to be seen, in one sentence, from measured quantities only. */
export function verdict({ settings, ...now }) {
  const { steps, loss, entropy, testEntropy, testAccuracy, counts, points, ceiling } = now;
  const most = Math.log(settings.K);
  if (steps === 0) {
    return "Press Play. Colours are experts, boxes are clusters that no part of the model is told of.";
  }
  if (!(loss < 5)) return "The steps are too long: the training has blown up.";
  if (settings.activation === "relu" && settings.recipe === "paper") {
    return "ReLU answers are never negative, so nothing is labelled −1. In the authors’ recipe (All settings) experts have a second output for that.";
  }
  if (settings.model === "single") {
    if (!ceiling) return "One expert, and no ceiling: here, strength alone tells signal from noise.";
    return misled(points) > 0.8
      ? "One expert: most crosses sit beyond the diagonals, where the feature noise is louder than the signal and says the opposite."
      : "One expert must answer everything. Watch where the crosses gather.";
  }
  if (steps > 100 && Math.abs(loss - Math.LN2) < 0.002) {
    return "Stuck: the loss is still ln 2 = 0.693. Some answers have the right sign, but nothing grows.";
  }
  if (purity(counts) > 0.95) {
    return testAccuracy > 0.99
      ? "Solved: each expert in use serves one cluster, which it was never told of."
      : "Each expert in use serves one cluster now; the experts are still learning.";
  }
  if (settings.M < settings.K && steps > 150) {
    return "Fewer experts than clusters: somebody has to share.";
  }
  if (testEntropy > 0.6 * most && testAccuracy > 0.9) {
    return "Most answers are right, and yet no expert stands for a cluster: the colours cut through the boxes.";
  }
  if (testEntropy < 0.25 * most && entropy > 0.75 * most) {
    return "The router leans the right way already; its lead is still small against the noise, so colours stay mixed.";
  }
  if (entropy > 0.9 * most) return "So far, to know the expert is to know next to nothing of the cluster.";
  const served = counts.filter((row) => Math.max(...row) > 0.9 * row.reduce((a, b) => a + b)).length;
  return `The router divides the work: ${served} of ${settings.K} clusters go to one expert, all but a tenth or less.`;
}
