// Draws the map: all pictures on a layer of their own, and over it what changes with each step of a slider.

const THUMB = 40; // pixels, of a picture; up to twice as many when zoomed in
const APART = 1.15; // distance of two pictures, in their size; between them there are dots
const INK_ON_SUN = "#201e1a";

export class Drawing {
  /** `about` is what LatentMap has, `colour(i)` the name of the CSS colour of picture i. */
  constructor(canvas, about, view, colour) {
    Object.assign(this, { canvas, about, view, colour, sheet: null, waiting: 0, isChosen: () => true });
    this.layer = document.createElement("canvas");
    this.stale = true; // the layer is
    this.at = -1; // the picture that is pointed at
    this.here = null; // the point of the current latent
  }

  /** The size of a picture, in pixels. */
  get size() {
    return THUMB * Math.min(2, Math.max(1, (this.view.scale / this.view.least) ** 0.35));
  }

  /** Draws at the next frame; `all`: the pictures too. */
  ask(all) {
    this.stale ||= all;
    this.waiting ||= requestAnimationFrame(() => this.draw());
  }

  resize(width, height) {
    for (const canvas of [this.canvas, this.layer]) {
      canvas.width = Math.round(width * devicePixelRatio);
      canvas.height = Math.round(height * devicePixelRatio);
    }
    this.stale = true;
    this.draw(); // at once: a canvas that was resized is empty
  }

  draw() {
    this.waiting = 0;
    const style = getComputedStyle(this.canvas);
    const ink = name => style.getPropertyValue(name);
    if (this.stale) this.#drawPictures(this.#start(this.layer), ink);
    this.stale = false;
    const pen = this.#start(this.canvas);
    pen.drawImage(this.layer, 0, 0, this.view.width, this.view.height);
    if (this.at >= 0) {
      this.#drawPicture(pen, this.at, this.view.place(this.about.points[this.at]), this.size * 1.3, ink("--ink"));
    }
    if (this.here) drawMark(pen, this.view.place(this.here), ink("--sun"));
  }

  #start(canvas) {
    const pen = canvas.getContext("2d");
    const ratio = canvas.width / this.view.width;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, this.view.width, this.view.height);
    return pen;
  }

  #drawPictures(pen, ink) {
    const { size, view } = this;
    const [left, top] = view.place([0, 0]);
    pen.strokeStyle = ink("--line");
    pen.lineWidth = 1;
    pen.stroke(new Path2D(`M${left} 0V${view.height}M0 ${top}H${view.width}`));
    const shown = [];
    this.about.points.forEach((point, i) => {
      const place = view.place(point);
      if (!view.contains(place, size)) return;
      const far = ([x, y]) => Math.max(Math.abs(x - place[0]), Math.abs(y - place[1])) > size * APART;
      if (this.sheet && this.isChosen(i) && shown.every(other => far(other.place))) shown.push({ i, place });
      pen.globalAlpha = this.isChosen(i) ? 0.9 : 0.15;
      pen.fillStyle = ink(this.colour(i));
      pen.beginPath();
      pen.arc(...place, 4, 0, 7);
      pen.fill();
    });
    pen.globalAlpha = 1;
    for (const { i, place } of shown) this.#drawPicture(pen, i, place, size, ink(this.colour(i)));
  }

  #drawPicture(pen, i, [x, y], size, edge) {
    const [height, width] = this.about.thumbnail;
    const scale = size / Math.max(height, width);
    const [w, h] = [width * scale, height * scale];
    const [column, row] = [i % this.about.columns, Math.floor(i / this.about.columns)];
    pen.fillStyle = edge;
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
}

function drawMark(pen, [x, y], colour) {
  for (const [width, ink] of [[7, INK_ON_SUN], [4, colour]]) {
    pen.strokeStyle = ink;
    pen.lineWidth = width;
    pen.stroke(new Path2D(`M${x - 11} ${y}a11 11 0 1 0 22 0a11 11 0 1 0 -22 0M${x} ${y - 17}v6M${x} ${y + 11}v6`));
    pen.stroke(new Path2D(`M${x - 17} ${y}h6M${x + 11} ${y}h6`));
  }
}
