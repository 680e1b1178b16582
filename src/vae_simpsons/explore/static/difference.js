// The difference of two groups of pictures, and how much of it is added.

import { cell, drawBlob } from "./cells.js";
import { countLabels } from "./labels.js";
import { ask, attempt } from "./server.js";
import { makeSlider } from "./sliders.js";

const REACH = 2;
const OWN = "own";

export class Difference {
  constructor(labels, current) {
    Object.assign(this, { labels, current, vector: null, amount: 0 });
    this.groups = [...document.querySelectorAll("[data-group]")].map(element => this.#makeGroup(element));
    this.slider = makeSlider("amount-slider", "How much", "of the difference", REACH, amount => this.#add(amount));
    document.getElementById("amount").append(this.slider.row);
    this.#enable();
    current.addEventListener("z", event => {
      if (event.detail.by.startsWith("slider")) return; // those and this one add up
      this.amount = 0;
      this.slider.show(0);
    });
  }

  #makeGroup(element) {
    const select = element.querySelector("select");
    const group = { select, list: element.querySelector("ul"), own: [], element };
    this.#fill(group);
    select.addEventListener("change", () => attempt(() => this.#measure()));
    element.querySelector("button").addEventListener("click", () => attempt(async () => {
      group.own.push({ z: this.current.z, canvas: await drawBlob(this.current.picture) });
      this.#fill(group, OWN);
      await this.#measure();
    }));
    return group;
  }

  #fill(group, chosen = "") {
    const counts = countLabels(this.labels);
    const named = counts.length > 1 ? counts.map(([label, n]) => new Option(`${label || "no label"} (${n})`, `=${label}`)) : [];
    const all = new Option(`all on the map (${this.labels.length})`, "all");
    const own = group.own.length ? [new Option(`added by hand (${group.own.length})`, OWN)] : [];
    group.select.replaceChildren(new Option("choose…", ""), ...own, all, ...named.sort((a, b) => (a.text < b.text ? -1 : 1)));
    group.select.value = group.own.length || chosen !== OWN ? chosen : "";
    const items = group.own.map((part, i) =>
      cell(part.canvas, `Picture ${i + 1} of the group`, () => this.current.set(part.z, "pin"), () => {
        group.own.splice(i, 1);
        this.#fill(group, OWN);
        attempt(() => this.#measure());
      }));
    group.list.replaceChildren(...items);
  }

  async #mean(group) {
    if (group.select.value === OWN) {
      const latents = group.own.map(part => part.z);
      return latents[0].map((_, d) => latents.reduce((sum, z) => sum + z[d], 0) / latents.length);
    }
    const wanted = group.select.value;
    const numbers = [...this.labels.keys()].filter(i => wanted === "all" || wanted === `=${this.labels[i]}`);
    return (await ask("mean", { numbers })).z;
  }

  async #measure() {
    this.vector = null;
    this.amount = 0;
    this.slider.show(0);
    this.#enable();
    if (this.groups.some(group => !group.select.value)) return;
    const asked = this.groups.map(group => group.select.value + group.own.length).join();
    const [plus, minus] = await Promise.all(this.groups.map(group => this.#mean(group)));
    if (asked !== this.groups.map(group => group.select.value + group.own.length).join()) return; // chosen anew meanwhile
    this.vector = plus.map((value, d) => value - minus[d]);
    this.#enable();
  }

  #enable() {
    const length = this.vector ? Math.hypot(...this.vector) : 0;
    for (const input of this.slider.row.querySelectorAll("input")) input.disabled = !length;
    const what = length ? `Its length is ${length.toPrecision(3)}.` : "Choose two groups that differ.";
    document.getElementById("difference-note").textContent = what;
  }

  #add(amount) {
    const more = amount - this.amount;
    this.amount = amount;
    this.current.move(this.vector, more, "slider difference");
    this.slider.show(amount);
  }
}
