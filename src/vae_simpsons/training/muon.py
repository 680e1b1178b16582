"""Muon: steps that go equally far in every direction of a weight matrix.

The gradient of a layer's weights, a matrix of outputs by inputs, is mostly a few directions; Adam, which scales each
number for itself, leaves the others behind. Muon takes the momentum M of the gradient and steps by the orthogonal
matrix that is nearest to it: with the singular value decomposition M = U S V^T,

    W <- W - lr * 0.2 sqrt(max(rows, columns)) U V^T,

0.2 being how far Adam usually moves a number, so that one learning rate serves both. Biases, gains, embeddings and
layers with few inputs or outputs have no such directions, and are left to AdamW.

Source: Jordan et al., Muon: An optimizer for hidden layers in neural networks, 2024 (the iteration and its
coefficients); Liu et al., Muon is Scalable for LLM Training, arXiv 2502.16982, Eq. 4 (the length of a step).
"""

from collections import defaultdict

import torch
from torch import Tensor, nn

from vae_simpsons.checkpoint import STATE
from vae_simpsons.devices import multiplies_bfloat16

MOMENTUM = 0.95
LEAST_SIDE = 16  # of a matrix, to have directions worth the work
ITERATIONS = 5
COEFFICIENTS = 3.4445, -4.7750, 2.0315
LENGTH = 0.2  # root mean square of a step's numbers, times the learning rate


class Muon(torch.optim.Optimizer):
    """Muon for the weights of layers, AdamW for the rest of a network.

    Its state is {"exp_avg": momentum} for each of these weights, and AdamW's for the others. Like torch's fused AdamW
    it leaves everything as it is in a step for which `found_inf`, (), is not zero.

    Args:
        betas: of AdamW.
        weight_decay: share of lr that is taken off the weights, of both.
        fused: of AdamW.
    """

    def __init__(
        self, network: nn.Module, lr: float, betas: tuple[float, float], weight_decay: float, fused: bool
    ) -> None:
        self.matrices = [layer.weight for layer in network.modules() if has_matrix(layer)]
        chosen = {id(weight) for weight in self.matrices}
        others = [weight for weight in network.parameters() if id(weight) not in chosen]
        defaults = {"lr": lr, "weight_decay": weight_decay, "fused": fused}
        super().__init__([{"params": self.matrices}], defaults)
        self.adamw = torch.optim.AdamW([{"params": others}], lr, betas, weight_decay=weight_decay, fused=fused)
        self.param_groups += self.adamw.param_groups  # whoever sets the learning rate sets both
        self.adamw.state = self.state

    @torch.no_grad()
    def step(self, closure=None):
        """Makes a step; returns what `closure`, which makes the gradients, returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        found_inf = getattr(self, "found_inf", None)
        if found_inf is not None:
            self.adamw.found_inf = found_inf
        self.adamw.step()
        for weights in by_shape(self.matrices):
            step_matrices(weights, self.state, self.param_groups[0], found_inf)
        return loss


def kept_of(optimizer: torch.optim.Optimizer, weight: nn.Parameter) -> tuple[str, ...]:
    """Returns the names of what `optimizer`, Muon or one of torch's Adams, keeps of a weight."""
    matrices = optimizer.matrices if isinstance(optimizer, Muon) else []
    return ("exp_avg",) if any(weight is matrix for matrix in matrices) else STATE


def has_matrix(layer: nn.Module) -> bool:
    """Whether the weight of `layer` is a matrix, or a kernel that can be seen as one, of LEAST_SIDE on either side."""
    if not isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
        return False
    return min(layer.weight.flatten(1).shape) >= LEAST_SIDE


def by_shape(weights: list[nn.Parameter]) -> list[list[nn.Parameter]]:
    """Returns the weights that have a gradient, those of one shape together: one product does for all of them."""
    groups = defaultdict(list)
    for weight in weights:
        if weight.grad is not None:
            groups[weight.flatten(1).shape].append(weight)
    return list(groups.values())


def step_matrices(
    weights: list[nn.Parameter], state: dict[nn.Parameter, dict[str, Tensor]], group: dict, found_inf: Tensor | None
) -> None:
    """Makes a step of weights of one shape, (n, rows, columns) in all, with Nesterov's momentum."""
    for weight in weights:
        if "exp_avg" not in state[weight]:
            state[weight]["exp_avg"] = torch.zeros_like(weight)
    gradient = torch.stack([weight.grad.flatten(1) for weight in weights if weight.grad is not None])
    before = torch.stack([state[weight]["exp_avg"].flatten(1) for weight in weights])
    momentum = before.lerp(gradient, 1 - MOMENTUM)
    length = LENGTH * max(gradient.shape[1:]) ** 0.5
    step = length * orthogonalise(gradient.lerp(momentum, MOMENTUM))
    if group["weight_decay"]:
        step = step + group["weight_decay"] * torch.stack([weight.flatten(1) for weight in weights])
    step = group["lr"] * step
    if found_inf is not None:
        momentum = torch.where(found_inf > 0, before, momentum)
        step = torch.where(found_inf > 0, 0.0, step)
    for weight, new, change in zip(weights, momentum, step, strict=True):
        state[weight]["exp_avg"].copy_(new.view(weight.shape))
        weight.sub_(change.view(weight.shape))


def orthogonalise(matrices: Tensor) -> Tensor:
    """Returns roughly U V^T for each U S V^T of `matrices`, (n, rows, columns).

    Newton and Schulz's iteration: with A = X X^T, each X <- (a I + b A + c A^2) X moves every singular value s to
    a s + b s^3 + c s^5. COEFFICIENTS bring even small ones near 1 soon, to between 0.7 and 1.2, which does as well.
    """
    a, b, c = COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    if multiplies_bfloat16(x.device):
        x = x.bfloat16()
    for _ in range(ITERATIONS):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrices.dtype)
