"""`vae explore`: a page on this machine to walk through a model's latents with."""
