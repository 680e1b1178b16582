"""What the figures of an evaluation mean for this run, in plain sentences: one rule each."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from vae_simpsons.evaluation.classifier import ACCURACY
from vae_simpsons.evaluation.disentanglement import MIG
from vae_simpsons.evaluation.distances import KERNEL
from vae_simpsons.evaluation.figures import Figure
from vae_simpsons.evaluation.memorisation import SHARE
from vae_simpsons.evaluation.posterior import ACTIVE_UNITS, INFORMATION
from vae_simpsons.evaluation.result import Evaluation

Figures = Mapping[str, Figure]  # by name
BLURRED = 0.5  # share of the sharpness of what is compared with
CERTAIN = 2.0  # standard errors


def sentences(evaluation: Evaluation) -> list[str]:
    """Returns the sentences whose rules apply, the most important first."""
    figures = {f.name: f for group in evaluation.groups.values() for f in group if math.isfinite(f.value)}
    found = [rule(figures, evaluation.run) for rule in RULES]
    return [sentence for sentence in found if sentence]


def other_images(figures: Figures, run: Mapping[str, Any]) -> str | None:
    """The split was drawn, so that training images may be among those that validate."""
    origin = str(run.get("split_from", ""))
    if not origin.startswith("drawn"):
        return None
    return f"The split is {origin}. If these are not the run's images, none of them trained it."


def autoencoder(figures: Figures, run: Mapping[str, Any]) -> str | None:
    """There is neither prior nor likelihood."""
    if run.get("settings", {}).get("model.variational", True):
        return None
    return (
        "This is a plain autoencoder: it has no prior to draw samples from and no likelihood, so there are no figures "
        "of samples, likelihood and memorisation."
    )


def collapse(figures: Figures, run: Mapping[str, Any]) -> str | None:
    """Fewer than a tenth of the latent dimensions are active."""
    active = figures.get(ACTIVE_UNITS)
    if active is None or not active.reference or active.value >= 0.1 * active.reference:
        return None
    count = "none" if active.value == 0 else f"{active.value:.0f}"
    return (
        f"Posterior collapse: {count} of {active.reference:.0f} latent dimensions carry anything. Lower "
        f"{_kl_settings(run)}."
    )


def nothing_learnt(figures: Figures, run: Mapping[str, Any]) -> str | None:
    """Reconstructions are hardly better than the mean image."""
    mse = figures.get("mse")
    if mse is None or not mse.reference or mse.value < 0.9 * mse.reference:
        return None
    return (
        f"Reconstructions are hardly better than the mean training image (mse {mse.value:.3g}, mean image "
        f"{mse.reference:.3g}): the model has learnt next to nothing. Train longer, or with another learning rate."
    )


def assumed_noise(figures: Figures, run: Mapping[str, Any]) -> str | None:
    """The noise that the loss implies is not the noise that is left, by a factor of 1.5."""
    sigma = figures.get("fitted sigma")
    if sigma is None or not sigma.reference:
        return None
    ratio = sigma.reference / sigma.value
    if 1 / 1.5 < ratio < 1.5:
        return None
    said = f"The loss assumes pixel noise of {sigma.reference:.2f} where {sigma.value:.2f} is left"
    if ratio > 1:
        return (
            f"{said}: it gives up detail for a smaller KL. Give objective.sigma optimal{_matching_weight(run, ratio)}."
        )
    return f"{said}: it pays KL for detail that it does not get. Give objective.sigma optimal, or train longer."


def storage(figures: Figures, run: Mapping[str, Any]) -> str | None:
    """A code of this model is longer than the image itself, at the implied or at both noises."""
    fitted, implied = (figures.get(f"bits per dimension, {noise} sigma") for noise in ("fitted", "implied"))
    if fitted and fitted.value >= 8:
        return f"As a code the model is worse than raw storage: {fitted.value:.2f} bits a pixel value instead of 8."
    if fitted and implied and implied.value >= 8:
        return (
            "At the pixel noise that the loss assumes, the model is a worse code than raw storage "
            f"({implied.value:.2f} bits a pixel value instead of 8); at the fitted noise it takes {fitted.value:.2f}."
        )
    return None


def blurred_samples(figures: Figures, run: Mapping[str, Any]) -> str | None:
    """Samples have less than half the sharpness of reconstructions."""
    of_samples, of_recon = figures.get("sharpness of samples"), figures.get("sharpness of reconstructions")
    if not of_samples or not of_recon or of_samples.value >= BLURRED * of_recon.value:
        return None
    return (
        f"Samples are much blurrier than reconstructions (sharpness {of_samples.value:.3g} and {of_recon.value:.3g}): "
        f"the prior reaches latents that no image has. {_better_prior(run)}"
    )


def far_samples(figures: Figures, run: Mapping[str, Any]) -> str | None:
    """Which part of the distance of samples to the training images is the prior's, and which the decoder's."""
    drawn, recon = figures.get(KERNEL), figures.get(f"{KERNEL} of reconstructions")
    if not drawn or not recon:
        return None
    error = math.hypot(drawn.error or 0.0, recon.error or 0.0)
    if drawn.value > 1.5 * recon.value and drawn.value - recon.value > CERTAIN * error:
        return (
            f"Samples are further from the training images than reconstructions are ({KERNEL} {drawn.value:.3g} and "
            f"{recon.value:.3g}): part of that is the prior's. {_better_prior(run)}"
        )
    return (
        f"Samples are about as far from the training images as reconstructions are ({KERNEL} {drawn.value:.3g} and "
        f"{recon.value:.3g}): the decoder is the limit, not the prior."
    )


def blurred_reconstructions(figures: Figures, run: Mapping[str, Any]) -> str | None:
    """Reconstructions have less than half the sharpness of the images."""
    of_recon = figures.get("sharpness of reconstructions")
    if not of_recon or not of_recon.reference or of_recon.value >= BLURRED * of_recon.reference:
        return None
    share = of_recon.value / of_recon.reference
    advice = "A map as the latent keeps far more of a picture: model.latent spatial, as in configs/simpsons-sharp.yaml."
    if run.get("settings", {}).get("model.latent") == "spatial":
        advice = "Train longer, or with a smaller objective.beta, more latent_channels or a wider network."
    return f"Reconstructions are blurred: they have {share:.0%} of the images' sharpness. {advice}"


def uncovered(figures: Figures, run: Mapping[str, Any]) -> str | None:
    """Samples reach less than half of the training images that held-out images reach."""
    coverage = figures.get("coverage")
    if not coverage or not coverage.reference or coverage.value >= 0.5 * coverage.reference:
        return None
    return (
        f"Samples resemble few of the training images: they cover {coverage.value:.0%} of them, held-out images "
        f"{coverage.reference:.0%}."
    )


def copies(figures: Figures, run: Mapping[str, Any]) -> str | None:
    """Whether more samples than validation images are close to one training image."""
    shares = [f for name, f in figures.items() if name.startswith(SHARE)]
    if not shares:
        return None
    worst = max(shares, key=lambda f: f.value - (f.reference or 0.0))
    space = worst.name.rpartition(" ")[2]
    if worst.value - (worst.reference or 0.0) > CERTAIN * (worst.error or 0.0):
        return (
            f"{worst.value:.0%} of the samples are close to a single training image ({space}), and "
            f"{worst.reference:.0%} of the validation images: look at the nearest training images for copies."
        )
    return "No sign of memorisation: samples are no closer to single training images than validation images are."


def saturated_information(figures: Figures, run: Mapping[str, Any]) -> str | None:
    """Mutual information is at the ceiling that N sets."""
    information = figures.get(INFORMATION)
    if not information or not information.reference or information.value < 0.95 * information.reference:
        return None
    return (
        f"The latents tell all {information.count:,} images apart: mutual information is at its ceiling, log N = "
        f"{information.reference:.1f} nats, and the marginal KL is an upper bound only."
    )


def loose_bound(figures: Figures, run: Mapping[str, Any]) -> str | None:
    """Fewer than two importance weights count at every noise."""
    sizes = [f for name, f in figures.items() if name.startswith("effective sample size")]
    if not sizes or max(f.value for f in sizes) >= 2:
        return None
    return (
        f"IWAE says little more than the elbo: of {sizes[0].reference:.0f} importance samples an image, "
        f"{max(f.value for f in sizes):.1f} count."
    )


def lost_labels(figures: Figures, run: Mapping[str, Any]) -> str | None:
    """A classifier errs on reconstructions where it does not on real images, by a tenth."""
    accuracy = figures.get(f"{ACCURACY}, reconstructions")
    if not accuracy or accuracy.reference is None or accuracy.value > accuracy.reference - 0.1:
        return None
    return (
        f"Reconstructions lose what tells the classes apart: a classifier names {accuracy.value:.0%} of them right, "
        f"and {accuracy.reference:.0%} of the real images."
    )


def entangled(figures: Figures, run: Mapping[str, Any]) -> str | None:
    """No dimension stands for one factor."""
    gap = figures.get(MIG)
    if not gap or gap.value >= 0.1:
        return None
    return f"No latent dimension stands for one factor alone: MIG is {gap.value:.2f} of at most 1."


def _matching_weight(run: Mapping[str, Any], ratio: float) -> str:
    """The kld_weight whose implied noise is what is left, in words; nothing where the settings are not known."""
    settings = run.get("settings", {})
    weight = settings.get("objective.kld_weight") if settings.get("objective.sigma") is None else None
    return f", or lower objective.kld_weight towards {weight / ratio**2:.1g}" if weight else ""


def _kl_settings(run: Mapping[str, Any]) -> str:
    """The settings that weigh the KL term, in words."""
    said = run.get("settings", {}).get("objective.sigma") is not None
    return "objective.beta" if said else "objective.kld_weight or objective.beta"


def _better_prior(run: Mapping[str, Any]) -> str:
    """What to do about a prior that is the limit."""
    if run.get("settings", {}).get("prior.kind") == "flow":
        return "Train the flow longer (prior.epochs), or a wider one (prior.width)."
    return "Give the model a prior that is fitted to its latents: vae fit-prior --prior.kind flow."


RULES: tuple[Callable[[Figures, Mapping[str, Any]], str | None], ...] = (
    other_images, autoencoder, collapse, nothing_learnt, assumed_noise, storage, blurred_samples, far_samples,
    blurred_reconstructions, uncovered, copies, lost_labels, saturated_information, loose_bound, entangled,
)  # fmt: skip
