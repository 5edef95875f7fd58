// The sidebar holds the logo, search and contents: name it as one landmark.
document.addEventListener("DOMContentLoaded", () => {
  const sidebar = document.querySelector("#pst-primary-sidebar");
  sidebar?.setAttribute("role", "navigation");
  sidebar?.setAttribute("aria-label", "Site");
  const boxes = ".picture-box, .pst-scrollable-table-container, .cell_output > .output";
  document.querySelectorAll(`.bd-article :is(${boxes})`).forEach(showScroll);
});

/** A box that scrolls sideways fades where more is hidden and is reached by keyboard. */
function showScroll(box) {
  const look = () => {
    const hidden = box.scrollWidth - box.clientWidth;
    box.classList.toggle("more", box.scrollLeft < hidden - 1);
    if (hidden > 1) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  };
  box.addEventListener("scroll", look, { passive: true });
  new ResizeObserver(look).observe(box);
}
