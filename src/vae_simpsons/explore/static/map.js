// The map: every picture at the place of its latent, and the current one's.

import { loadImage } from "./cells.js";
import { colourLabels } from "./labels.js";
import { Drawing } from "./mapdrawing.js";
import { Pointers } from "./pointers.js";
import { View } from "./mapview.js";

export class LatentMap {
  /** `about` is {points, mean, axes, labels, names, columns, thumbnail}; `on` has open(number), pin(number), decode(z). */
  constructor(about, on) {
    Object.assign(this, { about, on });
    this.canvas = document.getElementById("chart");
    this.canvas.setAttribute("aria-label", `Map of ${about.points.length} encoded pictures`);
    this.view = new View(about.points);
    const colours = colourLabels(about.labels);
    this.drawing = new Drawing(this.canvas, about, this.view, i => `--c${colours.of(i)}`);
    this.#makeKey(colours);
    const zooms = { "zoom-in": () => this.view.zoom(1.5), "zoom-out": () => this.view.zoom(1 / 1.5) };
    for (const [id, work] of Object.entries({ ...zooms, "zoom-all": () => this.view.showAll() })) {
      document.getElementById(id).addEventListener("click", () => this.#change(work));
    }
    new Pointers(this.canvas, {
      hover: place => this.#point(place === null ? -1 : this.#nearest(place)),
      click: (place, shift) => this.#click(place, shift),
      move: (right, down) => this.#change(() => this.view.move(right, down)),
      zoom: (factor, place) => this.#change(() => this.view.zoom(factor, place)),
    });
    this.canvas.addEventListener("keydown", event => this.#key(event));
    this.canvas.addEventListener("blur", () => this.#point(-1));
    new ResizeObserver(() => this.#resize()).observe(this.canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.drawing.ask(true));
    loadImage("thumbnails.webp").then(image => this.#change(() => (this.drawing.sheet = image)));
  }

  /** Marks where latent z lies. */
  mark(z) {
    this.drawing.here = this.about.axes.map(axis => axis.reduce((sum, v, d) => sum + (z[d] - this.about.mean[d]) * v, 0));
    this.drawing.ask(false);
  }

  /** Returns the latent of a point of the plane: the mean of all, and so much of both components. */
  latent([x, y]) {
    const [first, second] = this.about.axes;
    return this.about.mean.map((value, d) => value + x * first[d] + y * second[d]);
  }

  #change(work) {
    work();
    this.drawing.ask(true);
  }

  #resize() {
    const { width, height } = this.canvas.getBoundingClientRect();
    if (!width) return;
    this.view.resize(width, height);
    this.drawing.resize(width, height);
  }

  #nearest(place) {
    return this.view.nearest(place, this.drawing.size / 2);
  }

  #click(place, shift) {
    const i = this.#nearest(place);
    if (i < 0) this.on.decode(this.latent(this.view.point(place)));
    else if (shift) this.on.pin(i);
    else this.on.open(i);
  }

  #key(event) {
    const arrow = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[event.key];
    const rest = { "+": () => this.view.zoom(1.5), "-": () => this.view.zoom(1 / 1.5), 0: () => this.view.showAll() };
    const at = this.drawing.at;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (arrow) {
      const start = this.view.nearest(this.view.place(this.drawing.here), Infinity);
      this.#point(at < 0 ? start : this.view.next(at, ...arrow), true);
    } else if (event.key === "Enter" && at >= 0) this.on.open(at);
    else if (event.key.toLowerCase() === "p" && at >= 0) this.on.pin(at);
    else if (event.key in rest) this.#change(rest[event.key]);
    else return;
    event.preventDefault();
  }

  /** Shows which picture the pointer or the keys have come to; -1: none. */
  #point(i, aloud = false) {
    if (i === this.drawing.at) return;
    this.drawing.at = i;
    this.drawing.ask(false);
    const tip = document.getElementById("tip");
    tip.hidden = i < 0;
    this.canvas.classList.toggle("on", i >= 0);
    if (i < 0) return;
    const words = [this.about.labels[i], this.about.names[i].split("/").pop()].filter(Boolean).join(" · ");
    tip.querySelector("span").textContent = words;
    if (aloud) document.getElementById("map-said").textContent = words;
    this.#placeTip(tip, i);
  }

  #placeTip(tip, i) {
    const { columns, thumbnail, points } = this.about;
    const [column, row] = [i % columns, Math.floor(i / columns)];
    const picture = tip.querySelector("i").style;
    picture.aspectRatio = `${thumbnail[1]} / ${thumbnail[0]}`;
    picture.backgroundImage = "url(thumbnails.webp)";
    const rows = Math.ceil(points.length / columns);
    picture.backgroundSize = `${columns * 100}% ${rows * 100}%`;
    picture.backgroundPosition = `${(100 * column) / Math.max(1, columns - 1)}% ${(100 * row) / Math.max(1, rows - 1)}%`;
    const [x, y] = this.view.place(points[i]);
    const gap = this.drawing.size * 0.65 + 10;
    tip.style.left = `${x > this.view.width / 2 ? x - gap - tip.offsetWidth : x + gap}px`;
    tip.style.top = `${Math.min(Math.max(4, y - tip.offsetHeight / 2), this.view.height - tip.offsetHeight - 4)}px`;
  }

  #makeKey(colours) {
    const key = document.getElementById("key");
    let chosen = null;
    for (const [colour, name] of colours.entries) {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: name });
      button.style.setProperty("--dot", `var(--c${colour})`);
      button.setAttribute("aria-pressed", "false");
      button.addEventListener("click", () => {
        chosen = chosen === colour ? null : colour;
        for (const other of key.querySelectorAll("button")) {
          other.setAttribute("aria-pressed", other === button && chosen !== null);
        }
        this.#change(() => (this.drawing.isChosen = i => chosen === null || colours.of(i) === chosen));
      });
      const item = document.createElement("li");
      item.append(button);
      key.append(item);
    }
  }
}
