// A slider and a number for each direction.

const REACH = 3; // of a slider; its number goes further

/** Returns an element with a slider and a number, and a function that shows a value on both. */
export function makeSlider(id, name, detail, reach, onChange) {
  const row = document.createElement("div");
  row.className = "slider";
  const label = document.createElement("label");
  label.htmlFor = id;
  label.append(Object.assign(document.createElement("span"), { textContent: name }));
  label.append(Object.assign(document.createElement("small"), { textContent: detail }));
  const range = Object.assign(document.createElement("input"), { id, type: "range", min: -reach, max: reach, step: 0.05 });
  const number = Object.assign(document.createElement("input"), { type: "number", step: 0.1, value: 0 });
  number.setAttribute("aria-label", `${name}, as a number`);
  row.append(label, range, number);
  range.addEventListener("input", () => {
    number.value = Number(range.value).toFixed(2);
    onChange(Number(range.value));
  });
  range.addEventListener("dblclick", () => onChange(0));
  number.addEventListener("input", () => {
    if (number.value !== "" && Number.isFinite(number.valueAsNumber)) onChange(number.valueAsNumber);
  });
  const show = value => {
    if (document.activeElement !== range || Math.abs(range.value - value) > 0.03) range.value = value;
    if (document.activeElement !== number || Math.abs(number.value - value) > 0.005) number.value = value.toFixed(2);
  };
  return { row, show };
}

/** Fills the sliders of the directions {name, detail, origin, vector}, each kept at the current latent's value. */
export function addSliders(directions, current) {
  const rows = document.getElementById("slider-rows");
  const made = directions.map((direction, i) => {
    const length = direction.vector.reduce((sum, v) => sum + v * v, 0);
    const value = z => z.reduce((sum, v, d) => sum + (v - direction.origin[d]) * direction.vector[d], 0) / length;
    const go = wanted => current.move(direction.vector, wanted - value(current.z), `slider ${i}`);
    const slider = makeSlider(`slider-${i}`, direction.name, direction.detail, REACH, go);
    rows.append(slider.row);
    return { ...direction, ...slider, value };
  });
  current.addEventListener("z", () => made.forEach(({ show, value }) => show(value(current.z))));
  document.getElementById("centre").addEventListener("click", () => {
    const z = [...current.z];
    for (const { vector, value } of made) {
      const amount = value(current.z); // the directions are at right angles
      vector.forEach((v, d) => (z[d] -= amount * v));
    }
    current.set(z, "centre");
  });
}
