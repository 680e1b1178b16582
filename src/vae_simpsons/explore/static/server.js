// Questions to the program that served this page, and what is said while it works or when it fails.

const LATE_MS = 150; // after which the page says that it is busy
let open = 0; // questions

/** Returns the answer to a question: a picture as a Blob, anything else as an object. Throws an Error in plain words. */
export async function ask(name, body) {
  begin();
  try {
    const sent = body instanceof Blob ? body : JSON.stringify(body);
    const response = await fetch(name, { method: "POST", body: sent });
    if (!response.ok) throw new Error((await response.json()).error);
    const isJson = response.headers.get("Content-Type").startsWith("application/json");
    return await (isJson ? response.json() : response.blob());
  } catch (error) {
    throw error instanceof TypeError ? new Error("vae explore does not answer. Does it still run?") : error;
  } finally {
    end();
  }
}

/** Runs `work`, and shows why it failed if it did. */
export async function attempt(work) {
  try {
    await work();
  } catch (error) {
    showError(error.message);
  }
}

export function showError(text) {
  const box = document.getElementById("error");
  box.querySelector("p").textContent = text;
  box.hidden = false;
}

function begin() {
  document.body.dataset.open = ++open;
  if (open === 1) setTimeout(() => open && showBusy(true), LATE_MS);
}

function end() {
  document.body.dataset.open = --open;
  if (!open) showBusy(false);
}

function showBusy(is) {
  document.body.dataset.busy = is;
  document.getElementById("busy").textContent = is ? "busy…" : "";
}

document.querySelector("#error button").addEventListener("click", () => (document.getElementById("error").hidden = true));
