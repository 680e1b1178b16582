// The latent map: the picture of the point that is nearest to the pointer, or that the arrow keys have come to.
for (const map of document.querySelectorAll(".map")) {
  const dots = [...map.querySelectorAll("circle")].sort((a, b) => a.cx.baseVal.value - b.cx.baseVal.value);
  const tip = map.querySelector(".tip"), names = JSON.parse(map.dataset.names);
  let current = -1;
  function show(at) {
    const dot = dots[current = at], box = map.getBoundingClientRect(), on = dot.getBoundingClientRect();
    const x = on.x + on.width / 2 - box.x, y = on.y + on.height / 2 - box.y;
    tip.firstChild.style.cssText = dot.dataset.at;
    tip.lastChild.textContent = names[dot.dataset.label] || "";
    tip.classList.add("on");
    tip.style.left = Math.min(box.width - tip.offsetWidth - 4, Math.max(4, x + 12)) + "px";
    tip.style.top = (y > box.height / 2 ? y - tip.offsetHeight - 12 : y + 12) + "px";
  }
  map.addEventListener("pointermove", event => {
    let best = -1, least = 60 ** 2;
    dots.forEach((dot, i) => {
      const on = dot.getBoundingClientRect();
      const far = (on.x + on.width / 2 - event.clientX) ** 2 + (on.y + on.height / 2 - event.clientY) ** 2;
      if (far < least) { least = far; best = i; }
    });
    if (best >= 0) show(best); else tip.classList.remove("on");
  });
  map.addEventListener("pointerleave", () => tip.classList.remove("on"));
  map.addEventListener("blur", () => tip.classList.remove("on"));
  map.addEventListener("keydown", event => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    show((current + step + dots.length) % dots.length);
  });
}
// The epochs: of each run the picture of the epoch that the slider is at, or of its last one before.
for (const slider of document.querySelectorAll(".slider input")) {
  const epochs = JSON.parse(slider.dataset.epochs), output = slider.nextElementSibling;
  slider.addEventListener("input", () => {
    const epoch = epochs[slider.value];
    output.textContent = "epoch " + epoch;
    slider.setAttribute("aria-valuetext", "epoch " + epoch);
    for (const stack of document.querySelectorAll(".stack")) {
      const all = [...stack.children];
      const shown = all.findLast(img => img.dataset.epoch <= epoch) || all[0];
      for (const img of all) img.hidden = img !== shown;
    }
  });
}
