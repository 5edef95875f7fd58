// Runs the training beside the page, so that the page stays free. Messages in: start
// (settings), play, pause, step. Messages out: what to draw, with the number of its run.

import { LEG, Simulation } from "./simulation.js";

const SLICE = 40; // milliseconds of work between two looks at the messages

let simulation = null;
let run = 0;
let playing = false;
let rate = 0; // steps per second
let clock = 0;

function report() {
  postMessage({ run, playing, stepsPerSecond: rate, ...simulation.snapshot() });
}

function work() {
  if (!playing) return;
  const began = performance.now();
  const before = simulation.steps;
  do {
    simulation.step();
    playing = simulation.steps % LEG !== 0;
  } while (playing && performance.now() - began < SLICE);
  report();
  const now = performance.now();
  const lately = (1000 * (simulation.steps - before)) / (now - clock);
  rate = rate ? 0.9 * rate + 0.1 * lately : lately;
  clock = now;
  setTimeout(work, 0);
}

const actions = {
  start(message) {
    playing = false;
    run = message.run;
    rate = 0;
    simulation = new Simulation(message.settings);
  },
  play() {
    if (playing) return;
    playing = true;
    clock = performance.now();
    setTimeout(work, 0);
  },
  pause() {
    playing = false;
  },
  step() {
    playing = false;
    simulation.step();
  },
};

onmessage = ({ data }) => {
  actions[data.action](data);
  report();
};
