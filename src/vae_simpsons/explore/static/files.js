// Pictures and latents in and out: opened, dropped, pasted, saved.

import { attempt } from "./server.js";

const KIND = "vae explore latent";

/** Saves a Blob as a file. */
export function save(name, blob) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Returns a latent as the Blob of a JSON file. */
export function latentFile(z, about) {
  const content = { kind: KIND, model: about.name, epochs: about.epochs, shape: about.latent, z };
  return new Blob([JSON.stringify(content), "\n"], { type: "application/json" });
}

/** Returns the latent in a file that `latentFile` made. Throws an Error in plain words. */
export async function readLatent(file, about) {
  let content = null;
  try {
    content = JSON.parse(await file.text());
  } catch {
    // what it is not is said below
  }
  const z = content?.z;
  if (!Array.isArray(z) || !z.every(Number.isFinite)) throw new Error(`${file.name}: no latent that was saved here.`);
  const size = about.latent.reduce((product, side) => product * side);
  if (z.length !== size) {
    throw new Error(`${file.name}: a latent of ${z.length} numbers; those of this model have ${size} (${about.latent.join("×")}).`);
  }
  return z;
}

/** Calls onFile(file) with what is chosen, dropped or pasted. */
export function receiveFiles(onFile) {
  const input = document.getElementById("file");
  const drop = document.getElementById("drop");
  const take = list => {
    const file = list?.[0];
    if (file) attempt(() => onFile(file));
    return file;
  };
  input.addEventListener("change", () => {
    take(input.files);
    input.value = ""; // so that the same file can be chosen again
  });
  let inside = 0; // elements that the pointer has entered and not left
  const hasFiles = event => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", event => {
    if (!hasFiles(event)) return;
    inside++;
    drop.hidden = false;
  });
  addEventListener("dragleave", event => {
    if (hasFiles(event) && --inside <= 0) drop.hidden = true;
  });
  addEventListener("dragover", event => hasFiles(event) && event.preventDefault());
  addEventListener("drop", event => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    inside = 0;
    drop.hidden = true;
    take(event.dataTransfer.files);
  });
  addEventListener("paste", event => take(event.clipboardData?.files) && event.preventDefault());
}
