// Pinned pictures, and the way from each to the next.

import { cell, cutSheet } from "./cells.js";
import { save } from "./files.js";
import { ask, attempt } from "./server.js";

const FRAME_MS = 80;

export class Walk {
  constructor(current) {
    Object.assign(this, { current, pins: [], film: [], timer: 0 });
    this.form = document.getElementById("walk-form");
    this.at = document.getElementById("at");
    this.playing = document.getElementById("play");
    this.form.addEventListener("submit", event => {
      event.preventDefault();
      attempt(() => this.#walk());
    });
    document.getElementById("save-gif").addEventListener("click", () =>
      attempt(async () => save("walk.gif", await ask("gif", this.#asked()))));
    this.at.addEventListener("input", () => {
      this.#play(false);
      this.#show();
    });
    this.playing.addEventListener("click", () => this.#play(!this.timer));
  }

  /** Pins latent z with its picture, a canvas. */
  pin(z, canvas) {
    this.pins.push({ z, canvas });
    this.#list();
  }

  #list() {
    const items = this.pins.map((pin, i) => {
      const remove = () => {
        this.pins.splice(i, 1);
        this.#list();
      };
      const item = cell(pin.canvas, `Pinned picture ${i + 1}`, () => this.current.set(pin.z, "pin"), remove);
      item.append(Object.assign(document.createElement("b"), { textContent: i + 1 }));
      return item;
    });
    document.getElementById("pins").replaceChildren(...items);
    const few = this.pins.length < 2;
    for (const button of [this.form.querySelector("[type=submit]"), document.getElementById("save-gif")]) button.disabled = few;
    document.getElementById("pins-note").hidden = !few;
  }

  #asked() {
    const { steps, spherical, loop } = this.form.elements;
    const z = this.pins.map(pin => pin.z);
    return { z, steps: steps.valueAsNumber, spherical: spherical.value !== "", loop: loop.checked };
  }

  async #walk() {
    this.film = await cutSheet((await ask("walk", this.#asked())).sheet);
    this.at.max = this.film.length - 1;
    this.at.value = 0;
    document.getElementById("film").hidden = false;
    this.#show();
    this.#play(!matchMedia("(prefers-reduced-motion: reduce)").matches);
  }

  #play(is) {
    clearInterval(this.timer);
    this.timer = is && setInterval(() => {
      this.at.value = (Number(this.at.value) + 1) % this.film.length;
      this.#show();
    }, FRAME_MS);
    this.playing.textContent = is ? "Pause" : "Play";
  }

  #show() {
    const picture = this.film[this.at.value];
    const frame = document.getElementById("frame");
    if (frame.width !== picture.width) Object.assign(frame, { width: picture.width, height: picture.height });
    frame.getContext("2d").drawImage(picture, 0, 0);
    this.at.setAttribute("aria-valuetext", `picture ${Number(this.at.value) + 1} of ${this.film.length}`);
  }
}
