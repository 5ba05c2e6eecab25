// Wide tables and figures that do not fit say that they scroll.
const sized = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const wide = target.closest('.wide');
    wide.toggleAttribute('data-scrolls', wide.scrollWidth > wide.clientWidth + 1);
  }
});
for (const node of document.querySelectorAll('.wide, .wide > *')) sized.observe(node);
