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
        self.matrices = [weight for layer in network.modules() for weight in matrix_of(layer)]
        chosen = {id(weight) for weight in self.matrices}
        others = [weight for weight in network.parameters() if id(weight) not in chosen]
        defaults = {"lr": lr, "weight_decay": weight_decay, "fused": fused}
        super().__init__([{"params": self.matrices}], defaults)
        self.adamw = torch.optim.AdamW([{"params": others}], lr, betas, weight_decay=weight_decay, fused=fused)
        self.param_groups += self.adamw.param_groups  # whoever sets the learning rate sets both
        self.adamw.state = self.state
        by_shape = defaultdict(list)  # one product does for all of a shape
        for weight in self.matrices:
            by_shape[as_matrix(weight).shape].append(weight)
        self.groups = [Matrices(weights, self.state) for weights in by_shape.values()]

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
        elif self.matrices:
            found_inf = torch.zeros((), device=self.matrices[0].device)
        self.adamw.step()
        for group in self.groups:
            group.step(self.param_groups[0]["lr"], self.param_groups[0]["weight_decay"], found_inf)
        return loss


def kept_of(optimizer: torch.optim.Optimizer, weight: Tensor) -> tuple[str, ...]:
    """Returns the names of what `optimizer`, Muon or one of torch's Adams, keeps of a weight."""
    matrices = optimizer.matrices if isinstance(optimizer, Muon) else []
    return ("exp_avg",) if any(weight is matrix for matrix in matrices) else STATE


def matrix_of(layer: nn.Module) -> list[Tensor]:
    """Returns the weight of `layer` if it is a matrix, or a kernel seen as one, of LEAST_SIDE on either side."""
    if not isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
        return []
    return [layer.weight] if min(as_matrix(layer.weight).shape) >= LEAST_SIDE else []


def as_matrix(weight: Tensor) -> Tensor:
    """Returns a weight (out, in, *kernel) as (out, *kernel * in): the order in which kernels lie in memory in training.

    The order of a matrix's columns makes no difference to Muon, but to get another one is to copy it.
    """
    return weight.movedim(1, -1).flatten(1)


def as_weight(matrix: Tensor, weight: Tensor) -> Tensor:
    """Returns `matrix`, laid out as as_matrix(weight) is, with the shape of `weight`: a view."""
    return matrix.view(weight.movedim(1, -1).shape).movedim(-1, 1)


class Matrices:
    """Weights of one shape, and the momentum of all of them in one tensor (n, rows, columns).

    A step goes through memory as few times as it can: on a CPU that takes longer than the products.
    """

    def __init__(self, weights: list[Tensor], state: dict[Tensor, dict[str, Tensor]]) -> None:
        """Begins with a momentum of zero; `state` gets a view of that of each weight."""
        self.weights = weights
        self.momentum = torch.stack([torch.zeros_like(as_matrix(weight)) for weight in weights])
        for weight, momentum in zip(weights, self.momentum, strict=True):
            state[weight]["exp_avg"] = as_weight(momentum, weight)
        self.length = LENGTH * max(self.momentum.shape[1:]) ** 0.5

    def step(self, lr: float | Tensor, weight_decay: float, found_inf: Tensor) -> None:
        """Makes a step with Nesterov's momentum; none where `found_inf`, (), is 1, or there are no gradients."""
        gradients = [weight.grad for weight in self.weights if weight.grad is not None]
        if len(gradients) < len(self.weights):
            return
        wanted = 1 - found_inf
        gradient = torch.stack([as_matrix(gradient) for gradient in gradients])
        gradient.masked_fill_(found_inf > 0, 0.0)  # times 0 alone, what is not finite would stay so
        self.momentum.lerp_(gradient, (1 - MOMENTUM) * wanted)
        directions = orthogonalise(gradient.lerp_(self.momentum, MOMENTUM))
        for weight, direction in zip(self.weights, directions.mul_(wanted * lr * self.length), strict=True):
            if weight_decay:
                weight.mul_(1 - wanted * lr * weight_decay)
            weight.sub_(as_weight(direction, weight))


def orthogonalise(matrices: Tensor) -> Tensor:
    """Returns roughly U V^T for each U S V^T of `matrices`, (n, rows, columns).

    Newton and Schulz's iteration: with A = X X^T, each X <- (a I + b A + c A^2) X moves every singular value s to
    a s + b s^3 + c s^5. COEFFICIENTS bring even small ones near 1 soon, to between 0.7 and 1.2, which does as well.
    """
    a, b, c = COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    if multiplies_bfloat16(x.device):
        x = x.bfloat16()
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(ITERATIONS):
        square = x @ x.mT
        polynomial = torch.baddbmm(square, square, square, beta=b, alpha=c)
        polynomial.diagonal(dim1=1, dim2=2).add_(a)
        x = polynomial @ x
    return (x.mT if tall else x).to(matrices.dtype)
