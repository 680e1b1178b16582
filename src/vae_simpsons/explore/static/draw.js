// Samples of the prior.

import { cell, cutSheet } from "./cells.js";
import { ask, attempt } from "./server.js";

const COUNT = 8;

/** Fills the form with what the prior takes: {classes, flow, weak, guidance, steps, prior}; null: it has none. */
export function addDraw(about, current) {
  if (!about) return;
  document.getElementById("draw").hidden = false;
  const form = document.getElementById("draw-form");
  const fields = form.elements;
  fields.class.append(new Option("any", ""), ...about.classes.map(name => new Option(name)));
  fields.class.closest("label").hidden = !about.classes.length;
  fields.guidance.value = about.guidance;
  fields.steps.value = about.steps;
  for (const name of ["guidance", "steps"]) fields[name].closest("label").hidden = !about.flow;
  const showGuidance = () => (fields.guidance.disabled = !about.weak && !fields.class.value);
  fields.class.addEventListener("change", showGuidance);
  showGuidance();
  document.getElementById("draw-note").textContent = `From ${about.prior}. The same seed draws the same again.`;
  form.addEventListener("submit", event => {
    event.preventDefault();
    attempt(() => draw(about, fields, current));
  });
  document.getElementById("others").addEventListener("click", () => {
    fields.seed.value = Number(fields.seed.value) + 1;
    form.requestSubmit();
  });
}

async function draw(about, fields, current) {
  const name = fields.class.value || null;
  const asked = { count: COUNT, seed: Number(fields.seed.value), temperature: Number(fields.temperature.value), class: name };
  if (about.flow) asked.steps = Number(fields.steps.value);
  if (about.weak || (about.flow && name)) asked.guidance = Number(fields.guidance.value);
  const answer = await ask("draw", asked);
  const pictures = await cutSheet(answer.sheet);
  const what = `${name ?? "sample"}, seed ${asked.seed}`;
  const items = pictures.map((canvas, i) => cell(canvas, `${what}, number ${i + 1}`, () => current.set(answer.z[i], "sample")));
  document.getElementById("drawn").replaceChildren(...items);
}
