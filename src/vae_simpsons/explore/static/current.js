// The latent that the page shows, and its picture.

import { ask, attempt } from "./server.js";

const UNDONE = 100; // steps back
const PAUSE_MS = 1500; // after which another move of the same slider is a step of its own

/** Fires "z" when the latent changes, with detail.by saying what changed it, and "picture" when its picture has come. */
export class Current extends EventTarget {
  constructor() {
    super();
    this.z = null;
    this.picture = null; // Blob, of the latent that was last answered
    this.past = [];
    this.asked = null; // the newest latent that was not asked for yet
    this.asking = false;
    this.changed = { by: null, at: 0 };
  }

  /** Shows latent z; `by` names what changed it, so that one drag of a slider is one step back. */
  set(z, by, about = {}) {
    const now = performance.now();
    if (this.z && (by !== this.changed.by || !by.startsWith("slider") || now - this.changed.at > PAUSE_MS)) {
      this.past.push(this.z);
      if (this.past.length > UNDONE) this.past.shift();
    }
    this.changed = { by, at: now };
    this.#show(z, by, about);
  }

  /** Goes `amount` times `vector` from where it is. */
  move(vector, amount, by) {
    this.set(this.z.map((value, i) => value + amount * vector[i]), by);
  }

  undo() {
    if (this.past.length) this.#show(this.past.pop(), "undo", {});
    this.changed.by = "undo";
  }

  #show(z, by, about) {
    this.z = z;
    this.dispatchEvent(new CustomEvent("z", { detail: { by, ...about } }));
    this.asked = z;
    if (!this.asking) attempt(() => this.#ask());
  }

  // One question at a time; of those that come meanwhile, only the newest is asked.
  async #ask() {
    this.asking = true;
    try {
      while (this.asked) {
        const z = this.asked;
        this.asked = null;
        this.picture = await ask("decode", { z: [z] });
        this.dispatchEvent(new CustomEvent("picture", { detail: { z } }));
      }
    } finally {
      this.asking = false;
    }
  }
}
