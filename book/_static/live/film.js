// A film with the controls of live figures: frame by frame, each with its training step.

import { element, player } from "./controls.js";

export function film(video) {
  const steps = video.dataset.steps.split(" ");
  const fps = Number(video.dataset.fps);
  const last = steps.length - 1;
  const label = video.getAttribute("aria-label");
  const holder = element("div", { class: "live", role: "group", "aria-label": label });
  let loaded = null;

  // The whole file at once: not every server lets a browser seek in a part of it.
  const load = async () => {
    const answer = await fetch(video.currentSrc || video.src);
    if (!answer.ok) throw new Error(`${answer.status} ${answer.url}`);
    video.src = URL.createObjectURL(await answer.blob());
    await new Promise((done, failed) => {
      video.addEventListener("loadeddata", done, { once: true });
      video.addEventListener("error", failed, { once: true });
      video.preload = "auto";
    });
  };

  let wanted = last;
  const show = (frame) => {
    wanted = frame;
    if (!loaded && frame === last) return; // the poster is the last frame
    loaded ??= load().catch(() => {
      holder.remove();
      video.controls = true;
    });
    // In the middle of its time a frame cannot be mistaken for its neighbour.
    loaded.then(() => (video.currentTime = (wanted + 0.5) / fps));
  };

  video.controls = false;
  video.after(holder);
  player(holder, {
    last,
    start: last,
    label: "Frame of the film",
    describe: (frame) => `step ${steps[frame]}`,
    show,
    beat: 1000 / fps,
  });
}
