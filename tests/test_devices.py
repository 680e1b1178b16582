import pytest
import torch

from vae_simpsons import devices
from vae_simpsons.errors import VAEError


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(devices, "available_devices", lambda: ["cpu"])
    assert devices.pick_device("auto").type == "cpu"
    with pytest.raises(VAEError, match="device: cuda, but this machine has cpu only. Give auto, or cpu"):
        devices.pick_device("cuda")


def test_a_seed_decides_what_a_device_draws_next():
    cpu = torch.device("cpu")
    drawn = []
    for seed in (1, 2**63 - 1, 1):
        devices.seed_device(cpu, seed)
        drawn.append(torch.randn(4))
    assert torch.equal(drawn[0], drawn[2]) and not torch.equal(drawn[0], drawn[1])


def test_a_cpu_is_described_by_its_name_and_threads():
    assert devices.describe_device(torch.device("cpu")).endswith(f"{torch.get_num_threads()} threads)")
