"""A trained network at work: latents to images, images to latents, block by block."""
