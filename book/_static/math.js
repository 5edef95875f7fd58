// A formula is set when the reader comes near it, and MathJax comes with the first: a
// long page does not wait for what is far below. It also works from a file, unlike modules.
{
  const src = new URL("mathjax/tex-chtml.js", document.currentScript.src).href;
  const load = () =>
    new Promise((onload, onerror) => {
      window.MathJax = { ...window.MathJax, startup: { typeset: false } };
      document.head.append(Object.assign(document.createElement("script"), { src, onload, onerror }));
    }).then(() => MathJax.startup.promise);
  let loaded;
  const ready = () => (loaded ??= load());

  const begin = () => {
    const waiting = new Set(document.querySelectorAll(".math"));
    let work = Promise.resolve();
    const set = (formulas) => {
      formulas.forEach((formula) => {
        waiting.delete(formula);
        near.unobserve(formula);
      });
      if (formulas.length) {
        work = work.then(ready).then(() => MathJax.typesetPromise(formulas));
      }
      return work;
    };
    const near = new IntersectionObserver(
      (seen) => set(seen.filter((e) => e.isIntersecting).map((e) => e.target)),
      { rootMargin: "50% 0px" }
    );
    waiting.forEach((formula) => near.observe(formula));
    // Paper does not wait; who prints has most likely scrolled or touched something before.
    if (waiting.size) {
      for (const event of ["scroll", "pointerdown", "keydown"]) {
        window.addEventListener(event, ready, { once: true, passive: true });
      }
    }
    window.addEventListener("beforeprint", () => window.MathJax?.typeset?.([...waiting]));
    return () => set([...waiting]);
  };

  const begun = new Promise((go) =>
    window.addEventListener("load", () => requestAnimationFrame(() => setTimeout(go)))
  ).then(begin);
  /** Set every formula of the page; fulfilled when that is done. */
  window.setAllFormulas = async () => (await begun)();
}
