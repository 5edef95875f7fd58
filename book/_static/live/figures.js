// Live figures and films. A figure takes the place of the picture whose name it bears; if
// anything is wrong, the picture stays.

import { element } from "./controls.js";
import { film } from "./film.js";

/** Each has a module of its name that exports render(holder, data). */
export const KINDS = ["ceiling", "factorial", "stages", "training"];

async function bring(script) {
  const { kind, figure, label } = script.dataset;
  const holder = element("div", { class: "live", role: "group", "aria-label": label });
  try {
    if (!KINDS.includes(kind)) throw new Error(`there is no live figure "${kind}"`);
    const picture = document.getElementById(figure).querySelector(".picture-box");
    const data = JSON.parse(script.textContent);
    const { render } = await import(`./${kind}.js`);
    picture.before(holder); // in the page, so that it has a width to draw in
    render(holder, data);
    picture.hidden = true;
  } catch (error) {
    holder.remove();
    console.warn(`${figure} keeps its picture:`, error);
  }
}

document.querySelectorAll("script.live-figure").forEach(bring);
document.querySelectorAll("video[data-steps]").forEach(film);
