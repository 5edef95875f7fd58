// MathJax comes when the page is painted, and sets a formula when the reader comes near
// it: a long page does not wait for what is far below. It also works from a file, unlike
// modules.
{
  const mathjax = new URL("mathjax/tex-chtml.js", document.currentScript.src).href;
  const load = (src) =>
    new Promise((onload, onerror) => {
      document.head.append(Object.assign(document.createElement("script"), { src, onload, onerror }));
    });

  const begin = async () => {
    window.MathJax = { ...window.MathJax, startup: { typeset: false } };
    await load(mathjax);
    await MathJax.startup.promise;
    const waiting = new Set(document.querySelectorAll(".math"));
    let work = Promise.resolve();
    const set = (formulas) => {
      formulas.forEach((formula) => {
        waiting.delete(formula);
        near.unobserve(formula);
      });
      work = formulas.length ? work.then(() => MathJax.typesetPromise(formulas)) : work;
      return work;
    };
    const near = new IntersectionObserver(
      (seen) => set(seen.filter((e) => e.isIntersecting).map((e) => e.target)),
      { rootMargin: "50% 0px" }
    );
    waiting.forEach((formula) => near.observe(formula));
    // Paper does not wait.
    window.addEventListener("beforeprint", () => MathJax.typeset([...waiting]));
    return () => set([...waiting]);
  };

  const begun = new Promise((go) =>
    window.addEventListener("load", () => requestAnimationFrame(() => setTimeout(go)))
  ).then(begin);
  /** Set every formula of the page; fulfilled when that is done. */
  window.setAllFormulas = async () => (await begun)();
}
