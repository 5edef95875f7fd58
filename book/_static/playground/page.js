// The page: controls, the worker that trains, and the views. The state is the address.

import { Picture, dispatchTable } from "../live/draw.js";
import { button, dress, element, still } from "../live/controls.js";
import {
  FIELDS,
  PRESETS,
  changesFrom,
  complaint,
  complete,
  conflict,
  format,
  idle,
  isState,
  parse,
  read,
  write,
} from "./settings.js";
import { recipeOf } from "./recipes.js";
import { LEG, ceiling } from "./simulation.js";
import { barsPicture, curvesPicture, examplesPicture, percent, verdict } from "./views.js";

const CALM = 500; // milliseconds between two pictures where motion is not wanted
const QUICK = ["model", "activation"]; // always in sight, with a slider; the rest is folded
const NUMBERS = ["step", "accuracy, held-out", "accuracy, in the boxes", "dispatch entropy"];
const SETTLED = 15; // steps for which a sentence must hold before it is shown

class Playground {
  constructor(root) {
    this.root = root;
    this.run = 0;
    this.command = 0;
    this.build();
    this.worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    this.worker.onmessage = ({ data }) => data.run === this.run && this.receive(data);
    this.worker.onerror = () => {
      this.setPlaying(false);
      this.say(["The training does not run: this browser may lack module workers, or a file is missing."]);
    };
    window.addEventListener("hashchange", () => isState(location.hash) && this.load(location.hash));
    for (const link of document.querySelectorAll('a[href^="#preset="]')) {
      link.addEventListener("click", (event) => {
        event.preventDefault();
        this.load(link.hash, true);
        root.scrollIntoView();
        this.play.focus();
      });
    }
    this.load(location.hash);
  }

  // Building the page, once.

  build() {
    this.presets = Object.entries(PRESETS).map(([name, { label }]) => {
      const made = element("button", { type: "button", class: "live-button" }, label);
      made.addEventListener("click", () => this.load(format(name, {}), true));
      made.dataset.preset = name;
      return made;
    });
    this.play = button("play", "Play", () => this.toggle());
    this.inputs = {};
    const quick = QUICK.map((key) => this.field(key));
    const rest = Object.keys(FIELDS).filter((key) => !QUICK.includes(key));
    this.slider = element("input", { type: "range", min: 0.5, max: 6, step: 0.1 });
    this.slider.addEventListener("input", () => (this.loudest.textContent = this.slider.value));
    this.slider.addEventListener("change", () => {
      const high = Number(this.slider.value);
      this.change("gamma", `${Math.min(this.settings.gamma[0], high)},${high}`);
    });
    this.loudest = element("span");
    this.numbers = Object.fromEntries(
      NUMBERS.map((name) => [name, element("dd")])
    );
    this.messages = element("div", { class: "pg-messages", role: "alert" });
    this.verdict = element("p", { class: "pg-verdict", "aria-live": "polite" });
    this.table = element("table", { class: "live-dispatch" });
    this.table.innerHTML =
      '<caption class="pg-title">Who gets what: % of each cluster to each expert</caption>' +
      "<thead></thead><tbody></tbody>";
    this.root.replaceChildren(
      element("div", { class: "pg-presets", role: "group", "aria-label": "Stories" }, ...this.presets),
      element(
        "div",
        { class: "pg-quick" },
        ...quick,
        element("label", { class: "pg-slider" }, "Feature noise (decoy) up to ", this.loudest, this.slider)
      ),
      element(
        "div",
        { class: "live-transport live-stay", role: "group", "aria-label": "Training" },
        this.play,
        button("step", "Step", () => {
          this.send("step");
          this.setPlaying(false);
        }),
        button("reset", "Reset", () => this.start(false))
      ),
      this.messages,
      element(
        "dl",
        { class: "pg-numbers" },
        ...Object.entries(this.numbers).map(([name, value]) =>
          element("div", {}, element("dt", {}, name), value)
        )
      ),
      this.verdict,
      element(
        "div",
        { class: "pg-views" },
        this.view("examples", examplesPicture, "Examples: crosses are wrong answers"),
        element("div", {}, this.table, this.view("curves", curvesPicture, "Training")),
        this.view("bars", barsPicture, "What the weights point at: a bar for each cluster")
      ),
      element(
        "details",
        { class: "pg-settings" },
        element("summary", {}, "All settings"),
        element("div", { class: "pg-fields" }, ...rest.map((key) => this.field(key)))
      )
    );
  }

  view(name, picture, title) {
    const canvas = element("canvas", { role: "img", "aria-label": title });
    const holder = element("div", {}, canvas);
    this[name] = new Picture(canvas, picture);
    const heading = element("figcaption", { class: "pg-title" }, title);
    return element("figure", { class: `pg-${name}` }, heading, holder);
  }

  /** The input or inputs of one setting, with a place for its message. */
  field(key) {
    const { label, choices, range, flag, hint } = FIELDS[key];
    const error = element("span", { class: "pg-error", id: `pg-error-${key}`, role: "status" });
    const input = (attributes) => {
      const made = element("input", { "aria-describedby": error.id, name: key, ...attributes });
      made.addEventListener("change", () => this.change(key, this.wordsOf(key)));
      (this.inputs[key] ??= []).push(made);
      return made;
    };
    const group = (...children) =>
      element("fieldset", { class: "pg-group" }, element("legend", {}, label), ...children, error);
    if (choices) {
      const options = Object.entries(choices).map(([value, words]) =>
        element("label", {}, input({ type: "radio", name: `pg-${key}`, value }), element("span", {}, words))
      );
      return group(element("div", { class: "pg-choices" }, ...options));
    }
    if (flag) return element("label", { class: "pg-flag" }, input({ type: "checkbox" }), label, error);
    const hints = element("small", {}, hint);
    const words = { type: "text", inputmode: "decimal", autocomplete: "off", size: 6 };
    if (range) {
      return group(
        element("label", {}, "from ", input(words)),
        element("label", {}, " to ", input(words)),
        hints
      );
    }
    return element("label", { class: "pg-number" }, label, input(words), hints, error);
  }

  // Settings, from the controls or the address.

  wordsOf(key) {
    const inputs = this.inputs[key];
    if (FIELDS[key].choices) return inputs.find((input) => input.checked).value;
    if (FIELDS[key].flag) return inputs[0].checked ? "1" : "0";
    return inputs.map((input) => input.value).join(",");
  }

  /** Take a new value of one setting, or say what is wrong with it and change nothing. */
  change(key, words) {
    let [value, rule] = read(key, words);
    let blamed = key;
    const next = { ...this.settings, [key]: value };
    if (!rule) {
      const broken = conflict(next);
      if (broken) [[blamed], rule] = broken;
    }
    if (rule) return this.refuse(key, complaint(blamed, rule, blamed === key ? words : write(next[blamed])));
    const [before, after] = [recipeOf(this.settings), recipeOf(next)];
    if (before.expertLr !== after.expertLr || before.routerLr !== after.routerLr) {
      // Another recipe brings its own learning rates.
      delete next.expert_lr;
      delete next.router_lr;
    }
    this.settings = complete(next);
    history.replaceState(null, "", format(this.preset, changesFrom(this.preset, this.settings)));
    this.say([]);
    this.start(this.playing);
  }

  refuse(key, message) {
    this.inputs[key].forEach((input) => input.setAttribute("aria-invalid", "true"));
    if (this.inputs[key][0].type !== "text") this.put(key);
    this.root.querySelector(`#pg-error-${key}`).textContent = message;
    if (QUICK.includes(key)) this.say([message]);
  }

  load(hash, play = false) {
    const { preset, settings, autoplay, messages } = parse(hash);
    Object.assign(this, { preset, settings });
    if (play) history.replaceState(null, "", hash);
    this.say(messages);
    this.start(play || (autoplay && !still()));
  }

  say(messages) {
    this.messages.replaceChildren(...messages.map((words) => element("p", {}, words)));
  }

  /** Show in the controls of one setting what is set. */
  put(key) {
    const words = write(this.settings[key]);
    const { choices, flag } = FIELDS[key];
    this.inputs[key].forEach((input, i) => {
      if (choices) input.checked = input.value === words;
      else if (flag) input.checked = words === "1";
      else input.value = words.split(",")[i];
    });
  }

  /** Show in all controls what is set. */
  fill() {
    const without = idle(this.settings);
    for (const [key, inputs] of Object.entries(this.inputs)) {
      this.put(key);
      inputs.forEach((input) => {
        input.removeAttribute("aria-invalid");
        input.disabled = without.includes(key);
      });
      this.root.querySelector(`#pg-error-${key}`).textContent = "";
    }
    this.slider.value = this.settings.gamma[1];
    this.loudest.textContent = this.settings.gamma[1];
    const changed = Object.keys(changesFrom(this.preset, this.settings)).length > 0;
    this.presets.forEach((made) => {
      made.setAttribute("aria-pressed", String(made.dataset.preset === this.preset && !changed));
    });
  }

  // Training.

  start(play) {
    this.run += 1;
    this.fill();
    this.ceiling = ceiling(this.settings.alpha, this.settings.gamma);
    this.send("start", { run: this.run, settings: this.settings });
    if (play) this.send("play");
    this.setPlaying(play);
  }

  toggle() {
    this.send(this.playing ? "pause" : "play");
    this.setPlaying(!this.playing);
  }

  send(action, more = {}) {
    this.command += 1;
    this.worker.postMessage({ action, command: this.command, ...more });
  }

  setPlaying(playing) {
    this.playing = playing;
    dress(this.play, playing ? "pause" : "play", playing ? "Pause" : "Play");
  }

  receive(state) {
    this.state = state;
    // What answers an older message says nothing about the button.
    if (state.command === this.command) this.setPlaying(state.playing);
    if (this.drawing) return;
    this.drawing = true;
    const draw = () => {
      this.drawing = false;
      this.draw();
    };
    if (still() && this.playing) setTimeout(draw, CALM);
    else requestAnimationFrame(draw);
  }

  draw() {
    const { settings, ceiling, state } = this;
    if (state.run !== this.run) return; // other settings have been asked for since
    const last = LEG * Math.max(1, Math.ceil(state.steps / LEG));
    const shown = { ...state, settings, ceiling, last };
    const { steps, testAccuracy, trainAccuracy, entropy } = state;
    const ofMost = `${entropy.toFixed(2)} of ${Math.log(settings.K).toFixed(2)}`;
    const mixed = settings.model === "single" ? "–" : ofMost;
    const numbers = [`${steps}`, percent(testAccuracy), percent(trainAccuracy), mixed];
    NUMBERS.forEach((name, i) => (this.numbers[name].textContent = numbers[i]));
    this.conclude(shown);
    this.examples.show(shown);
    this.curves.show(shown);
    this.bars.show(shown);
    this.table.hidden = settings.model === "single";
    dispatchTable(this.table, state.counts);
    if (!this.playing) this.describe(shown);
  }

  /** Say what is to be seen, once it has held for a while. */
  conclude(shown) {
    const words = verdict(shown);
    if (words !== this.concluding?.words) this.concluding = { words, since: shown.steps };
    const settled = !this.playing || shown.steps - this.concluding.since >= SETTLED;
    if (!settled || this.verdict.textContent === words) return;
    this.verdict.textContent = words;
    this.describe(shown);
  }

  /** Words for those who cannot see the pictures, when they stand still. */
  describe({ steps, entropy, testAccuracy, points, ceiling: top }) {
    const wrong = points.right.reduce((sum, right) => sum + !right, 0);
    const name = (picture, words) => picture.canvas.setAttribute("aria-label", words);
    name(this.examples, `${points.right.length} examples after step ${steps}, ${wrong} answered wrong.`);
    const limit = top ? `; ceiling of a single expert ${percent(top)}` : "";
    const mixed = this.state.router.length ? `; dispatch entropy ${entropy.toFixed(2)}` : "";
    name(
      this.curves,
      `Curves over ${steps} steps: held-out accuracy ${percent(testAccuracy)}${limit}${mixed}.`
    );
    const best = this.state.experts.map((row, m) => `${m}: ${row.indexOf(Math.max(...row))}`);
    name(this.bars, `The feature signal that each expert points at most: ${best.join(", ")}.`);
  }

  stats() {
    const { steps, stepsPerSecond, testAccuracy, entropy } = this.state ?? { steps: 0 };
    return { steps, stepsPerSecond, testAccuracy, dispatchEntropy: entropy };
  }
}

const root = document.getElementById("playground");
const playground = new Playground(root);
window.playground = { stats: () => playground.stats() };
document.addEventListener("visibilitychange", () => {
  if (document.hidden && playground.playing) playground.toggle();
});
