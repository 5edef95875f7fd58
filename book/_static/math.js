// MathJax comes when the page is painted and sets a few formulas at a time, so that the
// page never waits for it and answers meanwhile. It also works from a file, unlike modules.
{
  const AT_ONCE = 12;
  const mathjax = new URL("mathjax/tex-chtml.js", document.currentScript.src).href;
  const load = (src) =>
    new Promise((onload, onerror) => {
      document.head.append(Object.assign(document.createElement("script"), { src, onload, onerror }));
    });
  const pause = () => new Promise((go) => setTimeout(go));

  const setFormulas = async () => {
    window.MathJax = { ...window.MathJax, startup: { typeset: false } };
    await load(mathjax);
    await MathJax.startup.promise;
    const formulas = [...document.querySelectorAll(".math")];
    while (formulas.length) {
      await MathJax.typesetPromise(formulas.splice(0, AT_ONCE));
      await pause();
    }
  };

  const painted = new Promise((go) =>
    window.addEventListener("load", () => requestAnimationFrame(() => setTimeout(go)))
  );
  /** Fulfilled when every formula of the page is set. */
  window.formulasSet = painted.then(setFormulas);
}
