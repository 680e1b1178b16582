"""The groups of figures of `vae evaluate`, one file each: what is measured on which images."""
