// The map's geometry: which part of the plane of the two first components is on the canvas.

const MARGIN = 40; // pixels around the pictures when all are shown

export class View {
  constructor(points) {
    this.points = points;
    this.width = this.height = 1;
    this.all = true; // nothing was moved or zoomed yet
  }

  resize(width, height) {
    [this.width, this.height] = [width, height];
    if (this.all) this.showAll();
  }

  showAll() {
    this.all = true;
    const [xs, ys] = [0, 1].map(axis => this.points.map(point => point[axis]));
    const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    this.x = (left + right) / 2;
    this.y = (low + high) / 2;
    const scales = [(this.width - 2 * MARGIN) / (right - left), (this.height - 2 * MARGIN) / (high - low)];
    this.scale = this.least = Math.max(1e-6, Math.min(...scales.filter(Number.isFinite), 1e6));
  }

  /** Returns where on the canvas a point of the plane is, in pixels. */
  place([x, y]) {
    return [this.width / 2 + (x - this.x) * this.scale, this.height / 2 - (y - this.y) * this.scale];
  }

  /** Returns the point of the plane that is at a place on the canvas. */
  point([left, top]) {
    return [this.x + (left - this.width / 2) / this.scale, this.y - (top - this.height / 2) / this.scale];
  }

  /** Whether a place is on the canvas, or less than `margin` pixels beside it. */
  contains([left, top], margin) {
    return left > -margin && top > -margin && left < this.width + margin && top < this.height + margin;
  }

  move(right, down) {
    this.all = false;
    this.x -= right / this.scale;
    this.y += down / this.scale;
  }

  /** Zooms by a factor; what is at `place` stays there. */
  zoom(factor, place = [this.width / 2, this.height / 2]) {
    this.all = false;
    const [x, y] = this.point(place);
    this.scale = Math.min(Math.max(this.scale * factor, this.least / 8), this.least * 200);
    const [left, top] = this.place([x, y]);
    this.move(place[0] - left, place[1] - top);
  }

  /** Returns the number of the picture nearest to a place, -1 if none is within `reach` pixels. */
  nearest(place, reach) {
    let best = -1;
    let least = reach * reach;
    this.points.forEach((point, i) => {
      const [left, top] = this.place(point);
      const far = (left - place[0]) ** 2 + (top - place[1]) ** 2;
      if (far < least) [best, least] = [i, far];
    });
    return best;
  }

  /** Returns the number of the next picture from number `from` in a direction, (1, 0) being right and (0, 1) down. */
  next(from, right, down) {
    const [left, top] = this.place(this.points[from]);
    let best = from;
    let least = Infinity;
    this.points.forEach((point, i) => {
      const [x, y] = this.place(point);
      const ahead = (x - left) * right + (y - top) * down;
      const aside = Math.abs((x - left) * down) + Math.abs((y - top) * right);
      if (i !== from && ahead > 0.5 && ahead + 2 * aside < least) [best, least] = [i, ahead + 2 * aside];
    });
    return best;
  }
}
