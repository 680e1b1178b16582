"""What the latents of the evaluated images carry."""

import math

from vae_simpsons.evaluation import posterior as carried
from vae_simpsons.evaluation.figures import Figure, mean_figure
from vae_simpsons.evaluation.groups.subject import Subject, attempt
from vae_simpsons.evaluation.likelihood import sampled_latents


def latents(subject: Subject, missing: list[str]) -> list[Figure]:
    """Active units; of a VAE also mutual information and the KL of the aggregate posterior."""
    figures = attempt(missing, lambda: [carried.active_units(subject.posterior[0].flatten(1))])
    if subject.network.variational:
        figures += attempt(missing, lambda: _split_figures(subject))
    return figures


def kl_of_each_dimension(subject: Subject) -> list[float]:
    """Nats of every latent dimension; none for an autoencoder."""
    if not subject.network.variational:
        return []
    return carried.kl_by_dimension(*(x.flatten(1) for x in subject.posterior)).tolist()


def _split_figures(subject: Subject) -> list[Figure]:
    mu, log_var = subject.posterior
    z = sampled_latents(mu, log_var, subject.seed)
    found = carried.split_kl(mu.flatten(1), log_var.flatten(1), z.flatten(1))
    said = carried.DEFINITIONS
    ceiling = (math.log(len(mu)), "log N, its ceiling")
    return [
        mean_figure(carried.INFORMATION, found.information, said[carried.INFORMATION], *ceiling),
        mean_figure(carried.MARGINAL, found.marginal, said[carried.MARGINAL]),
    ]
