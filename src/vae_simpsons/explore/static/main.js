// Puts the page together.

import { drawBlob } from "./cells.js";
import { Current } from "./current.js";
import { Difference } from "./difference.js";
import { addDraw } from "./draw.js";
import { latentFile, readLatent, receiveFiles, save } from "./files.js";
import { LatentMap } from "./map.js";
import { ask, attempt } from "./server.js";
import { addSliders } from "./sliders.js";
import { Walk } from "./walk.js";

const byId = id => document.getElementById(id);

function showFigure(id, src, caption) {
  const figure = byId(id);
  figure.hidden = !src;
  if (!src) return;
  Object.assign(figure.querySelector("img"), { src, alt: caption });
  figure.querySelector("figcaption").textContent = caption;
}

function describe(about) {
  byId("name").textContent = about.name || "vae explore";
  document.title = `${about.name} – vae explore`;
  const epochs = `${about.epochs} ${about.epochs === 1 ? "epoch" : "epochs"}`;
  byId("facts").textContent = `${about.image.join("×")} pixels, latent ${about.latent.join("×")}, ${epochs}; ${about.source}`;
  const [first, second] = about.map.shares.map(share => `${Math.round(100 * share)}%`);
  byId("map-note").textContent =
    `The latents of the pictures (mu) on their first two principal components, which hold ${first} and ${second} of the variance.`;
  const unit = about.sliders[0]?.name.startsWith("Component") ? "that component over the pictures" : "the prior";
  byId("sliders-note").textContent = `In standard deviations of ${unit}. Double-click sets one to 0.`;
  const [height, width] = about.image;
  Object.assign(byId("shown"), { width, height });
}

function showPictures(current) {
  const shown = byId("shown");
  current.addEventListener("picture", () => {
    const old = shown.src;
    shown.src = URL.createObjectURL(current.picture);
    if (old) URL.revokeObjectURL(old);
  });
  current.addEventListener("z", event => {
    const { by, original, caption } = event.detail;
    byId("undo").disabled = !current.past.length;
    if (by.startsWith("slider")) return; // what it started from stays
    showFigure("original", original, caption);
    showFigure("neighbour", null);
  });
}

async function start() {
  const about = await (await fetch("model.json")).json();
  describe(about);
  const current = new Current();
  const walk = new Walk(current);
  const zOf = async number => (await ask("mean", { numbers: [number] })).z;
  const open = async number => {
    const what = [about.map.labels[number], about.map.names[number].split("/").pop()].filter(Boolean).join(" · ");
    current.set(await zOf(number), "map", { original: `picture/${number}`, caption: `Encoded: ${what}` });
  };
  const pin = async z => walk.pin(z, await drawBlob(await ask("decode", { z: [z] })));
  const map = new LatentMap(about.map, {
    open: number => attempt(() => open(number)),
    pin: number => attempt(async () => pin(await zOf(number))),
    decode: z => current.set(z, "place"),
  });
  current.addEventListener("z", () => map.mark(current.z));
  showPictures(current);
  addSliders(about.sliders, current);
  addDraw(about.draw, current);
  new Difference(about.map.labels, current);
  byId("undo").addEventListener("click", () => current.undo());
  byId("pin").addEventListener("click", () => attempt(() => pin(current.z)));
  byId("save-picture").addEventListener("click", () => save("picture.png", current.picture));
  byId("save-latent").addEventListener("click", () => save("latent.json", latentFile(current.z, about)));
  byId("nearest").addEventListener("click", () => attempt(async () => {
    const found = await ask("nearest", { z: [current.z] });
    const far = found.distance.toFixed(0);
    showFigure("neighbour", found.src, `Nearest of ${found.of}: ${found.name}, ${far} grey levels away (rms)`);
  }));
  receiveFiles(async file => {
    if (file.name.endsWith(".json")) return current.set(await readLatent(file, about), "file");
    const found = await ask("encode", file);
    const caption = `Yours, as the model takes it. Its reconstruction is ${found.error.toFixed(0)} grey levels away (rms)`;
    current.set(found.z, "file", { original: found.src, caption });
  });
  await open(0);
}

attempt(start);
