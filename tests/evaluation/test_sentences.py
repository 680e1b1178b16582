"""Each sentence of an evaluation comes where its rule says so, and nowhere else."""

import pytest

from vae_simpsons.evaluation.figures import Figure
from vae_simpsons.evaluation.result import Evaluation
from vae_simpsons.evaluation.sentences import RULES, sentences

VARIATIONAL = {"settings": {"model.variational": True, "objective.kld_weight": 0.00025}}


def said(*figures: tuple, run: dict = VARIATIONAL) -> str:
    """What is said of figures given as name, value, reference and perhaps standard error."""
    found = [
        Figure(name, value, rest[0] if rest else None, 100, "", reference) for name, value, reference, *rest in figures
    ]
    return "\n".join(sentences(Evaluation(run, {"all": found})))


SHARP = "sharpness of reconstructions"
CASES = {
    "collapse": ("Posterior collapse: 3 of 64", [("active units", 3, 64)], [("active units", 7, 64)]),
    "collapse of all": ("collapse: none of 64", [("active units", 0, 64)], [("active units", 64, 64)]),
    "nothing learnt": ("hardly better than the mean", [("mse", 0.19, 0.2)], [("mse", 0.17, 0.2)]),
    "noise too large": (
        "assumes pixel noise of 1.24 where 0.25 is left: it gives up detail for a smaller KL. "
        "Give objective.sigma optimal, or lower objective.kld_weight towards 1e-05.",
        [("fitted sigma", 0.25, 1.24)],
        [("fitted sigma", 0.9, 1.24)],
    ),
    "noise too small": (
        "assumes pixel noise of 0.10 where 0.30 is left: it pays",
        [("fitted sigma", 0.3, 0.1)],
        [("fitted sigma", 0.3, 0.25)],
    ),
    "worse than raw": (
        "worse than raw storage: 8.20 bits",
        [("bits per dimension, fitted sigma", 8.2, 8)],
        [("bits per dimension, fitted sigma", 7.9, 8)],
    ),
    "worse than raw as trained": (
        "a worse code than raw storage (8.67 bits a pixel value instead of 8); at the fitted noise it takes 6.96",
        [("bits per dimension, implied sigma", 8.67, 8), ("bits per dimension, fitted sigma", 6.96, 8)],
        [("bits per dimension, implied sigma", 7.67, 8), ("bits per dimension, fitted sigma", 6.96, 8)],
    ),
    "blurred samples": (
        "Samples are much blurrier than reconstructions (sharpness 40 and 100): the prior reaches latents that no "
        "image has. Give the model a prior that is fitted",
        [("sharpness of samples", 40, 120), (SHARP, 100, 120)],
        [("sharpness of samples", 60, 120), (SHARP, 100, 120)],
    ),
    "prior at fault": (
        "Samples are further from the training images than reconstructions are (KD-EffNetLite0 2 and 1)",
        [("KD-EffNetLite0", 2, 0, 0.1), ("KD-EffNetLite0 of reconstructions", 1, 0, 0.1)],
        [("KD-EffNetLite0", 2, 0, 0.5), ("KD-EffNetLite0 of reconstructions", 1, 0, 0.5)],
    ),
    "decoder at fault": (
        "the decoder is the limit",
        [("KD-EffNetLite0", 1.1, 0, 0.01), ("KD-EffNetLite0 of reconstructions", 1, 0, 0.01)],
        [("KD-EffNetLite0", 2, 0, 0.1), ("KD-EffNetLite0 of reconstructions", 1, 0, 0.1)],
    ),
    "blurred": ("blurred: they have 30% of the images' sharpness", [(SHARP, 30, 100)], [(SHARP, 60, 100)]),
    "uncovered": ("they cover 20% of them, held-out images 97%", [("coverage", 0.2, 0.97)], [("coverage", 0.7, 0.97)]),
    "copies": (
        "60% of the samples are close to a single training image (features), and 5%",
        [("memorised share, features", 0.6, 0.05, 0.02), ("memorised share, pixels", 0.05, 0.05, 0.01)],
        [("memorised share, features", 0.06, 0.05, 0.02), ("memorised share, pixels", 0.05, 0.05, 0.01)],
    ),
    "no copies": (
        "No sign of memorisation",
        [("memorised share, pixels", 0.06, 0.05, 0.02)],
        [("memorised share, pixels", 0.6, 0.05, 0.02)],
    ),
    "lost labels": (
        "names 60% of them right, and 95%",
        [("label accuracy, reconstructions", 0.6, 0.95)],
        [("label accuracy, reconstructions", 0.9, 0.95)],
    ),
    "saturated": (
        "tell all 100 images apart",
        [("mutual information", 4.6, 4.605)],
        [("mutual information", 2, 4.605)],
    ),
    "loose": (
        "of 50 importance samples an image, 1.3 count",
        [("effective sample size, implied sigma", 1.3, 50), ("effective sample size, fitted sigma", 1.0, 50)],
        [("effective sample size, implied sigma", 5, 50), ("effective sample size, fitted sigma", 1.0, 50)],
    ),
    "entangled": ("No latent dimension stands for one factor", [("MIG", 0.02, None)], [("MIG", 0.3, None)]),
}


@pytest.mark.parametrize("name", CASES)
def test_a_sentence_comes_with_its_rule_and_only_then(name):
    text, applies, does_not = CASES[name]
    assert text in said(*applies)
    assert text.split(":")[0] not in said(*does_not)


def test_of_no_figures_nothing_is_said():
    assert said() == ""
    assert said(("mse", float("nan"), 0.1)) == ""


def test_an_autoencoder_is_told_what_it_lacks():
    assert "no prior to draw samples from and no likelihood" in said(run={"settings": {"model.variational": False}})


def test_a_drawn_split_is_said_first():
    lines = said(("MIG", 0.02, None), run=VARIATIONAL | {"split_from": "drawn by data.split sorted: no split.csv"})
    assert lines.startswith("The split is drawn by data.split sorted: no split.csv.")


def test_every_rule_has_a_case():
    covered = {
        rule for rule in RULES for case in CASES.values() if rule({f[0]: figure(*f) for f in case[1]}, VARIATIONAL)
    }
    assert {rule.__name__ for rule in RULES} - {rule.__name__ for rule in covered} == {"other_images", "autoencoder"}


def figure(name: str, value: float, reference: float | None, error: float | None = None) -> Figure:
    return Figure(name, value, error, 100, "", reference)
