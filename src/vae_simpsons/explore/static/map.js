// The map: every picture at the place of its latent, and the current one's.

import { loadImage } from "./cells.js";
import { Pointers } from "./pointers.js";
import { View } from "./mapview.js";

const COLOURS = 8; // of labels; the rarer ones share a grey
const THUMB = 40; // pixels, of a picture on the map; up to twice as many when zoomed in

export class LatentMap {
  /** `about` is {points, mean, axes, labels, names, columns, thumbnail}; `on` has open(number), pin(number), decode(z). */
  constructor(about, on) {
    Object.assign(this, { about, on, at: -1, chosen: null, here: null, sheet: null });
    this.canvas = document.getElementById("chart");
    this.view = new View(about.points);
    this.colours = colourLabels(about.labels);
    this.canvas.setAttribute("aria-label", `Map of ${about.points.length} encoded pictures`);
    this.#makeKey();
    const buttons = { "zoom-in": 1.5, "zoom-out": 1 / 1.5 };
    for (const [id, factor] of Object.entries(buttons)) {
      document.getElementById(id).addEventListener("click", () => this.#change(() => this.view.zoom(factor)));
    }
    document.getElementById("zoom-all").addEventListener("click", () => this.#change(() => this.view.showAll()));
    new Pointers(this.canvas, {
      hover: place => this.#point(place === null ? -1 : this.view.nearest(place, this.#thumb / 2)),
      click: (place, shift) => this.#click(place, shift),
      move: (right, down) => this.#change(() => this.view.move(right, down)),
      zoom: (factor, place) => this.#change(() => this.view.zoom(factor, place)),
    });
    this.canvas.addEventListener("keydown", event => this.#key(event));
    this.canvas.addEventListener("blur", () => this.#point(-1));
    new ResizeObserver(() => this.#resize()).observe(this.canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    loadImage("thumbnails.webp").then(image => this.#change(() => (this.sheet = image)));
  }

  /** Marks where latent z lies. */
  mark(z) {
    this.here = this.about.axes.map(axis => axis.reduce((sum, v, d) => sum + (z[d] - this.about.mean[d]) * v, 0));
    this.draw();
  }

  /** Returns the latent of a point of the plane: the mean of all, and so much of both components. */
  latent([x, y]) {
    const [first, second] = this.about.axes;
    return this.about.mean.map((value, d) => value + x * first[d] + y * second[d]);
  }

  draw() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      this.#draw();
    });
  }

  get #thumb() {
    return THUMB * Math.min(2, Math.max(1, (this.view.scale / this.view.least) ** 0.35));
  }

  #draw() {
    const size = this.#thumb;
    const pen = this.canvas.getContext("2d");
    const ratio = this.canvas.width / this.view.width;
    const style = getComputedStyle(this.canvas);
    const ink = name => style.getPropertyValue(name);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, this.view.width, this.view.height);
    const [left, top] = this.view.place([0, 0]);
    pen.strokeStyle = ink("--line");
    pen.lineWidth = 1;
    pen.stroke(new Path2D(`M${left} 0V${this.view.height}M0 ${top}H${this.view.width}`));
    const shown = [];
    this.about.points.forEach((point, i) => {
      const place = this.view.place(point);
      const outside = place[0] < -size || place[1] < -size || place[0] > this.view.width + size;
      if (outside || place[1] > this.view.height + size) return;
      const free = shown.every(([x, y]) => Math.max(Math.abs(x - place[0]), Math.abs(y - place[1])) > size * 1.15);
      const fits = this.sheet && free && this.#isChosen(i);
      if (fits) shown.push([...place, i]);
      pen.globalAlpha = this.#isChosen(i) ? 0.9 : 0.15;
      pen.fillStyle = ink(`--c${this.colours.of(i)}`);
      pen.beginPath();
      pen.arc(...place, 4, 0, 7);
      pen.fill();
    });
    pen.globalAlpha = 1;
    for (const [x, y, i] of shown) this.#drawThumbnail(pen, i, x, y, size, ink(`--c${this.colours.of(i)}`));
    if (this.at >= 0) {
      this.#drawThumbnail(pen, this.at, ...this.view.place(this.about.points[this.at]), size * 1.3, ink("--ink"));
    }
    if (this.here) drawMark(pen, this.view.place(this.here), ink("--sun"), "#201e1a");
  }

  #drawThumbnail(pen, i, x, y, size, colour) {
    const [height, width] = this.about.thumbnail;
    const scale = size / Math.max(height, width);
    const [w, h] = [width * scale, height * scale];
    const [column, row] = [i % this.about.columns, Math.floor(i / this.about.columns)];
    pen.fillStyle = colour;
    pen.beginPath();
    pen.roundRect(x - w / 2 - 2, y - h / 2 - 2, w + 4, h + 4, 5);
    pen.fill();
    if (!this.sheet) return;
    pen.save();
    pen.beginPath();
    pen.roundRect(x - w / 2, y - h / 2, w, h, 3);
    pen.clip();
    pen.drawImage(this.sheet, column * width, row * height, width, height, x - w / 2, y - h / 2, w, h);
    pen.restore();
  }

  #isChosen(i) {
    return this.chosen === null || this.colours.of(i) === this.chosen;
  }

  #change(work) {
    work();
    this.draw();
  }

  #resize() {
    const { width, height } = this.canvas.getBoundingClientRect();
    if (!width) return;
    this.canvas.width = Math.round(width * devicePixelRatio);
    this.canvas.height = Math.round(height * devicePixelRatio);
    this.view.resize(width, height);
    this.#draw(); // at once: a canvas that was resized is empty
  }

  #click(place, shift) {
    const i = this.view.nearest(place, this.#thumb / 2);
    if (i < 0) this.on.decode(this.latent(this.view.point(place)));
    else if (shift) this.on.pin(i);
    else this.on.open(i);
  }

  #key(event) {
    const arrow = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[event.key];
    const rest = { "+": () => this.view.zoom(1.5), "-": () => this.view.zoom(1 / 1.5), 0: () => this.view.showAll() };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (arrow) {
      const start = Math.max(0, this.here ? this.view.nearest(this.view.place(this.here), Infinity) : 0);
      this.#point(this.at < 0 ? start : this.view.next(this.at, ...arrow), true);
    } else if (event.key === "Enter" && this.at >= 0) this.on.open(this.at);
    else if (event.key.toLowerCase() === "p" && this.at >= 0) this.on.pin(this.at);
    else if (event.key in rest) this.#change(rest[event.key]);
    else return;
    event.preventDefault();
  }

  /** Shows which picture the pointer or the keys have come to; -1: none. */
  #point(i, aloud = false) {
    if (i === this.at) return;
    this.at = i;
    const tip = document.getElementById("tip");
    tip.hidden = i < 0;
    this.canvas.classList.toggle("on", i >= 0);
    this.draw();
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
    const gap = this.#thumb * 0.65 + 10;
    tip.style.left = `${x > this.view.width / 2 ? x - gap - tip.offsetWidth : x + gap}px`;
    tip.style.top = `${Math.min(Math.max(4, y - tip.offsetHeight / 2), this.view.height - tip.offsetHeight - 4)}px`;
  }

  #makeKey() {
    const key = document.getElementById("key");
    for (const [colour, name] of this.colours.entries) {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: name });
      button.style.setProperty("--dot", `var(--c${colour})`);
      button.setAttribute("aria-pressed", "false");
      button.addEventListener("click", () => {
        this.chosen = this.chosen === colour ? null : colour;
        [...key.querySelectorAll("button")].forEach(b => b.setAttribute("aria-pressed", b === button && this.chosen !== null));
        this.draw();
      });
      key.append(Object.assign(document.createElement("li")));
      key.lastChild.append(button);
    }
  }
}

/** Returns the colour of each picture, of(i), and the key's entries [colour, name]; none where all have one label. */
function colourLabels(labels) {
  const counts = countLabels(labels);
  if (counts.length < 2) return { of: () => 0, entries: [] };
  const common = counts.slice(0, COLOURS).map(([label]) => label);
  const colour = new Map([...common].sort().map((label, i) => [label, i]));
  const entries = [...colour].map(([label, i]) => [i, label || "no label"]);
  if (counts.length > COLOURS) entries.push([COLOURS, `${counts.length - COLOURS} more`]);
  return { of: i => colour.get(labels[i]) ?? COLOURS, entries };
}

/** Returns [label, number of pictures], the most frequent first. */
export function countLabels(labels) {
  const counts = new Map();
  for (const label of labels) counts.set(label, (counts.get(label) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
}

function drawMark(pen, [x, y], colour, edge) {
  for (const [width, ink] of [[7, edge], [4, colour]]) {
    pen.strokeStyle = ink;
    pen.lineWidth = width;
    pen.stroke(new Path2D(`M${x - 11} ${y}a11 11 0 1 0 22 0a11 11 0 1 0 -22 0M${x} ${y - 17}v6M${x} ${y + 11}v6`));
    pen.stroke(new Path2D(`M${x - 17} ${y}h6M${x + 11} ${y}h6`));
  }
}
