// The controls of everything that moves: the playground, live figures and films.

const ICONS = {
  play: "M4 2l10 6-10 6z",
  pause: "M3 2h4v12H3zM9 2h4v12H9z",
  back: "M12 2v12L4 8zM2 2h2v12H2z",
  step: "M4 2l8 6-8 6zM12 2h2v12h-2z",
  reset: "M8 3V0L3 4l5 4V5a4 4 0 1 1-4 4H2a6 6 0 1 0 6-6z",
};

export const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Put an element with attributes and children together. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(key, "");
    else if (value !== false && value != null) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

/** A button with an icon and a word. */
export function button(icon, word, act) {
  const made = element("button", { type: "button", class: "live-button" });
  dress(made, icon, word);
  made.addEventListener("click", act);
  return made;
}

/** Give a button another icon and word. */
export function dress(made, icon, word) {
  if (made.dataset.icon === icon) return;
  made.dataset.icon = icon;
  made.innerHTML =
    `<svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true">` +
    `<path fill="currentColor" d="${ICONS[icon]}"/></svg><span>${word}</span>`;
}

/**
 * Play, step back, step on and a slider over frames 0..last, in `holder`.
 * @param label what the slider moves through
 * @param describe the words for a frame, read out and shown beside the slider
 * @param show called with a frame, also once at the start
 * @param beat milliseconds from frame to frame
 */
export function player(holder, { last, label, describe, show, start = 0, beat = 160 }) {
  let timer = null;
  const slider = element("input", {
    type: "range",
    min: 0,
    max: last,
    step: 1,
    value: start,
    "aria-label": label,
  });
  const words = element("output", { class: "live-words", "aria-live": "off" });
  const go = (frame) => {
    const at = Math.max(0, Math.min(last, frame));
    slider.value = at;
    slider.setAttribute("aria-valuetext", describe(at));
    words.textContent = describe(at);
    show(at);
    if (at === last) stop();
  };
  const stop = () => {
    clearInterval(timer);
    timer = null;
    dress(play, "play", "Play");
  };
  const jump = (by) => {
    stop();
    go(Number(slider.value) + by);
  };
  const play = button("play", "Play", () => {
    if (timer) return stop();
    if (Number(slider.value) === last) go(0);
    timer = setInterval(() => go(Number(slider.value) + 1), beat);
    dress(play, "pause", "Pause");
  });
  slider.addEventListener("input", () => jump(0));
  holder.append(
    element(
      "div",
      { class: "live-transport" },
      play,
      button("back", "Back", () => jump(-1)),
      button("step", "Step", () => jump(1)),
      slider,
      words
    )
  );
  go(start);
}
