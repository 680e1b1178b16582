// Mouse, pen and fingers on a canvas: hover, click, drag, wheel, pinch.

const STILL = 6; // pixels that a click may move

export class Pointers {
  /** `on` has hover(place or null), click(place, shift), move(right, down) and zoom(factor, place), in pixels. */
  constructor(canvas, on) {
    Object.assign(this, { canvas, on, down: new Map(), far: 0 });
    canvas.addEventListener("pointerdown", event => this.#press(event));
    canvas.addEventListener("pointermove", event => this.#move(event));
    canvas.addEventListener("pointerup", event => this.#lift(event, true));
    canvas.addEventListener("pointercancel", event => this.#lift(event, false));
    canvas.addEventListener("pointerleave", () => on.hover(null));
    canvas.addEventListener("wheel", event => this.#wheel(event), { passive: false });
  }

  #place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.x, event.clientY - box.y];
  }

  #press(event) {
    if (event.button !== 0) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.down.set(event.pointerId, this.#place(event));
    if (this.down.size === 1) this.far = 0;
    else this.far = Infinity; // a pinch is no click
  }

  #move(event) {
    const place = this.#place(event);
    const before = this.down.get(event.pointerId);
    if (!before) {
      if (event.pointerType !== "touch") this.on.hover(place);
      return;
    }
    const [right, down] = [place[0] - before[0], place[1] - before[1]];
    this.far += Math.hypot(right, down);
    if (this.far < STILL) return;
    this.canvas.classList.add("moving");
    this.on.hover(null);
    if (this.down.size === 2) this.#pinch(event.pointerId, place);
    else this.on.move(right, down);
    this.down.set(event.pointerId, place);
  }

  #pinch(id, place) {
    const [other] = [...this.down].filter(([key]) => key !== id).map(([, at]) => at);
    const before = this.down.get(id);
    const distance = at => Math.max(1, Math.hypot(at[0] - other[0], at[1] - other[1]));
    this.on.zoom(distance(place) / distance(before), [(place[0] + other[0]) / 2, (place[1] + other[1]) / 2]);
  }

  #lift(event, clicks) {
    if (!this.down.delete(event.pointerId)) return;
    this.canvas.classList.remove("moving");
    if (clicks && this.far < STILL && !this.down.size) this.on.click(this.#place(event), event.shiftKey);
  }

  #wheel(event) {
    event.preventDefault();
    this.on.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), this.#place(event));
  }
}
