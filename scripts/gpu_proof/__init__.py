"""The parts of scripts/gpu_proof.py."""
