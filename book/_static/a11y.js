// The sidebar holds the logo, search and contents: name it as one landmark.
document.addEventListener("DOMContentLoaded", () => {
  const sidebar = document.querySelector("#pst-primary-sidebar");
  sidebar?.setAttribute("role", "navigation");
  sidebar?.setAttribute("aria-label", "Site");
  for (const box of document.querySelectorAll(BOXES)) {
    sizes.observe(box);
    box.addEventListener("scroll", () => showMore([box]), { passive: true });
  }
});

// A box that scrolls sideways fades where more is hidden, and the keyboard reaches it.
const BOXES =
  ".bd-article :is(.picture-box, .pst-scrollable-table-container, .cell_output > .output)";

function showMore(boxes) {
  // All is read before anything is written: else the page is laid out for each box.
  const seen = boxes.map((box) => [box, box.scrollWidth - box.clientWidth, box.scrollLeft]);
  for (const [box, hidden, passed] of seen) {
    box.classList.toggle("more", passed < hidden - 1);
    if (hidden > 1) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}

const sizes = new ResizeObserver((entries) => showMore(entries.map(({ target }) => target)));
