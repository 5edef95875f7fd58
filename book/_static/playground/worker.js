// Runs the training beside the page, so that the page stays free. Messages in: start
// (settings), play, pause, step, each with its number. Messages out: what to draw, with
// the number of the run and of the last message that it answers.

import { LEG, Simulation } from "./simulation.js";

const SLICE = 40; // milliseconds of work between two looks at the messages

let simulation = null;
let settings = null; // of the run that `begin` shall build
let run = 0;
let command = 0;
let playing = false;
let timer = null;
let rate = 0; // steps per second
let clock = 0;

function report() {
  postMessage({ run, command, playing, stepsPerSecond: rate, ...simulation.snapshot() });
}

/** Let all waiting messages in before going on. */
function next(act) {
  clearTimeout(timer);
  timer = setTimeout(act, 0);
}

/** Build the run that was asked for last. */
function begin() {
  if (settings) simulation = new Simulation(settings);
  settings = null;
  clock = performance.now();
  report();
  if (playing) next(work);
}

function work() {
  const began = performance.now();
  const before = simulation.steps;
  do {
    simulation.step();
    playing = simulation.steps % LEG !== 0 && Number.isFinite(simulation.seen.loss);
  } while (playing && performance.now() - began < SLICE);
  if (!playing) simulation.evaluate();
  const now = performance.now();
  const lately = (1000 * (simulation.steps - before)) / (now - clock);
  rate = rate ? 0.9 * rate + 0.1 * lately : lately;
  clock = now;
  report();
  if (playing) next(work);
}

const actions = {
  start(message) {
    ({ run, settings } = message);
    playing = false;
    rate = 0;
    next(begin);
  },
  play() {
    playing = true;
    next(begin);
  },
  pause() {
    playing = false;
    if (settings) return next(begin);
    clearTimeout(timer);
    simulation.evaluate();
    report();
  },
  step() {
    playing = false;
    clearTimeout(timer);
    if (settings) begin();
    simulation.step();
    simulation.evaluate();
    report();
  },
};

onmessage = ({ data }) => {
  command = data.command;
  actions[data.action](data);
};
