/* Formulas in previews of links: MathJax is large, so a page without formulas of its own loads it when
   the first preview that has one is shown. */
(() => {
  "use strict";
  let loaded = null;

  function mathJax() {
    if (window.MathJax?.typesetPromise) return Promise.resolve();
    loaded ??= new Promise((resolve, reject) => {
      window.MathJax ??= { options: { processHtmlClass: "tex2jax_process|mathjax_process|math|output_area" } };
      const script = document.createElement("script");
      script.src = `${document.documentElement.dataset.content_root}_static/mathjax/tex-chtml.js`;
      script.onload = () => MathJax.startup.promise.then(resolve, reject);
      script.onerror = reject;
      document.head.append(script);
    });
    return loaded;
  }

  function onShow({ popper }) {
    if (!popper.querySelector(".math")) return;
    mathJax().then(
      () => MathJax.typesetPromise([popper]),
      () => {}, // the preview then shows the formula's source
    );
  }

  // tippy's own script is deferred, so that it is there by then; the previews are made after loading
  document.addEventListener("DOMContentLoaded", () => window.tippy?.setDefaultProps({ onShow }));
})();
