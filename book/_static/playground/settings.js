// What can be chosen, the stories told by presets, and both in the address of the page.
// A value that breaks a rule gets a message and is replaced by the preset's.

import { ACTIVATIONS } from "./model.js";
import { recipeOf } from "./recipes.js";

// Keys are those of the address. Ranges keep a step short, the page small, and a colour for
// each expert and each cluster.
export const FIELDS = {
  model: { label: "Model", choices: { mixture: "mixture", single: "single" } },
  activation: {
    label: "Experts",
    choices: Object.fromEntries(ACTIVATIONS.map((name) => [name, name])),
  },
  gamma: { label: "Feature noise γ", hint: "of another cluster, random sign", range: [0.05, 10] },
  alpha: { label: "Feature signal α", hint: "tells the label", range: [0.05, 10] },
  sigma_p: { label: "Gaussian noise σₚ", hint: "of the patches that say nothing", number: [0, 5] },
  M: { label: "Experts M", hint: "1 to 8", integer: [1, 8] },
  J: { label: "Filters per expert J", hint: "1 to 128, each a direction", integer: [1, 128] },
  K: { label: "Clusters K", hint: "2 to 6, hidden", integer: [2, 6] },
  d: { label: "Dimensions d", hint: "length of a patch", integer: [4, 200] },
  P: { label: "Patches P", hint: "3 signals, the rest noise", integer: [3, 8] },
  n: { label: "Examples n", hint: "100 to 8000", integer: [100, 8000] },
  expert_lr: { label: "Expert learning rate η", hint: "length of a normalised step", number: [0, 10] },
  router_lr: { label: "Router learning rate ηᵣ", hint: "of plain gradient steps", number: [0, 100] },
  noise: { label: "Routing noise", flag: true },
  normalised: { label: "Normalised gradient", flag: true },
  recipe: { label: "Recipe", choices: { paper: "the paper's", authors: "the authors' code" } },
  seed: { label: "Seed", hint: "of data, weights and noise", integer: [0, 999999] },
};

// Setting 1 of the paper, with fewer examples. Its learning rates are the recipe's.
const USUAL = {
  model: "mixture",
  activation: "cubic",
  alpha: [0.5, 2],
  beta: [1, 2],
  gamma: [0.5, 3],
  sigma_p: 1,
  M: 8,
  J: 16,
  K: 4,
  d: 50,
  P: 4,
  n: 2000,
  noise: true,
  normalised: true,
  recipe: "paper",
  seed: 1,
};

export const PRESETS = {
  single: { label: "One expert", changes: { model: "single" } },
  linear: { label: "Linear mixture", changes: { activation: "linear" } },
  nonlinear: { label: "Cubic mixture", changes: {} },
  "too-few": { label: "Too few experts", changes: { M: 3 } },
  "no-noise": { label: "No routing noise", changes: { noise: false } },
  "plain-gd": { label: "Plain gradient", changes: { normalised: false } },
};
export const FIRST_PRESET = "nonlinear";

/** What has no effect with these settings. */
export function idle({ model, recipe }) {
  if (model === "mixture") return [];
  return ["M", "router_lr", "noise", ...(recipe === "authors" ? ["normalised"] : [])];
}

/** All values of a preset, or of the usual setting with `changes`. */
export function complete(changes) {
  const chosen = { ...USUAL, ...changes };
  const { expertLr, routerLr } = recipeOf(chosen);
  return { expert_lr: expertLr, router_lr: routerLr, ...chosen };
}

const isNumber = (value, [low, high]) => Number.isFinite(value) && low <= value && value <= high;
const DECIMAL = /^\s*[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?\s*$/i;
const number = (words) => (DECIMAL.test(words) ? Number(words) : NaN);

/** Read one value from text. @returns [value] or [undefined, the rule it breaks] */
export function read(key, words) {
  const { choices, flag, integer, range, number: bounds } = FIELDS[key];
  if (choices) {
    const names = Object.keys(choices);
    return names.includes(words) ? [words] : [undefined, `must be ${names.join(" or ")}`];
  }
  if (flag) {
    return ["0", "1"].includes(words) ? [words === "1"] : [undefined, "must be 0 or 1"];
  }
  if (range) {
    const pair = words.split(",").map(number);
    const [low, high] = pair;
    const fine = pair.length === 2 && pair.every((value) => isNumber(value, range)) && low <= high;
    const rule = `must be two numbers from ${range[0]} to ${range[1]}, the lower first`;
    return fine ? [pair] : [undefined, rule];
  }
  const value = number(words);
  const [low, high] = integer ?? bounds;
  const fine = isNumber(value, [low, high]) && (!integer || Number.isInteger(value));
  const kind = integer ? "a whole number" : "a number";
  return fine ? [value] : [undefined, `must be ${kind} from ${low} to ${high}`];
}

/** Rules between values: [wrong, the keys, the first to blame, and the rule]. */
const RULES = [
  [
    ({ K, d }) => 2 * K > d,
    ["K", "d"],
    ({ d }) => `must be at most d / 2 = ${d / 2}, so that 2 K signals can be orthogonal`,
  ],
  [
    ({ recipe, J }) => recipe === "authors" && J % 2 === 1,
    ["J", "recipe"],
    () => "must be even in the authors' recipe, which has two heads",
  ],
  [
    ({ recipe, model, noise }) => recipe === "authors" && model === "mixture" && !noise,
    ["noise", "recipe"],
    () => "must be on in the authors' recipe, where the noisy score is the gate",
  ],
  [
    ({ n, P, d }) => n * P * d > 2e6,
    ["n", "P", "d"],
    ({ P, d }) => `must be at most ${Math.floor(2e6 / P / d)} with this P and d`,
  ],
];

/** The first rule between values that is broken, as [keys, rule], or null. */
export function conflict(settings) {
  const found = RULES.find(([wrong]) => wrong(settings));
  return found ? [found[1], found[2](settings)] : null;
}

export const write = (value) =>
  Array.isArray(value) ? value.join(",") : typeof value === "boolean" ? `${+value}` : `${value}`;

export const complaint = (key, rule, words) =>
  `${FIELDS[key].label} ${rule}; got ${words.trim().replace(",", " to ") || "nothing"}.`;

/** Tell an address that sets something from one that names a place in the page. */
export const isState = (hash) => hash.includes("=");

/** Read the address. @returns preset, changes to it, autoplay, and messages */
export function parse(hash) {
  const messages = [];
  const changes = {};
  const words = new URLSearchParams(isState(hash) ? hash.slice(1) : "");
  const autoplay = words.get("autoplay") === "1";
  let preset = words.get("preset") ?? FIRST_PRESET;
  if (!Object.hasOwn(PRESETS, preset)) {
    const names = Object.keys(PRESETS).join(", ");
    messages.push(`There is no preset “${preset}”; there are ${names}.`);
    preset = FIRST_PRESET;
  }
  for (const [key, text] of words) {
    if (["preset", "autoplay"].includes(key)) continue;
    if (!Object.hasOwn(FIELDS, key)) {
      const names = Object.keys(FIELDS).join(", ");
      messages.push(`There is no setting “${key}”; there are ${names}.`);
      continue;
    }
    const [value, rule] = read(key, text);
    if (rule) messages.push(complaint(key, rule, text));
    else changes[key] = value;
  }
  const settings = () => complete({ ...PRESETS[preset].changes, ...changes });
  for (let broken; (broken = conflict(settings())); ) {
    const [keys, rule] = broken;
    messages.push(complaint(keys[0], rule, write(settings()[keys[0]])));
    for (const key of keys) delete changes[key];
  }
  return { preset, changes, settings: settings(), autoplay, messages };
}

/** The address of a preset with changes. */
export function format(preset, changes) {
  const parts = Object.entries(changes).map(([key, value]) => `${key}=${write(value)}`);
  return "#" + [`preset=${preset}`, ...parts].join("&");
}

/** What must be written beside the preset to say these settings. */
export function changesFrom(preset, settings) {
  const own = complete(PRESETS[preset].changes);
  const asRecipe = recipeOf(settings);
  const implied = { ...own, expert_lr: asRecipe.expertLr, router_lr: asRecipe.routerLr };
  return Object.fromEntries(
    Object.keys(FIELDS)
      .filter((key) => write(settings[key]) !== write(implied[key]))
      .map((key) => [key, settings[key]])
  );
}
