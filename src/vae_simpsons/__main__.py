"""Runs the command line: `python -m vae_simpsons` is the same as `vae`."""

from vae_simpsons.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
