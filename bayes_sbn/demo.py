r"""The demonstration: handwritten digits, from data to a calibrated prediction, in under a minute.

scikit-learn's 1797 digits (8 x 8 pixels), 1437 to train and 360 to test, stratified at random; a
64-256-256-10 network of ±1 weights and ±1 activations, fitted by :class:`pyro.infer.SVI`; an
ensemble of binary networks in packed bits; scores with intervals, and one picture.

The split is stratified and not the last 360 rows, because those are of other writers than the
rest: there a network of any kind is several points worse.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from bayes_sbn.elbo import TraceEstimator_ELBO
from bayes_sbn.estimators import get_estimator
from bayes_sbn.guides import AutoSignBernoulli
from bayes_sbn.models import BinaryMLP
from bayes_sbn.optim import MirrorDescent
from bayes_sbn.posterior import Posterior
from bayes_sbn.whole_file import whole_file

if TYPE_CHECKING:
    from bayes_sbn.metrics import Report
    from bayes_sbn.predictions import Predictions

IMAGE_SHAPE = (8, 8)
BATCH_SIZE = 128
TEMPERATURE = 0.003
"""Of the KL; about half of what ``temperature="auto"`` gives here."""


@dataclass(frozen=True)
class DemoSettings:
    """What the demonstration may be told.

    Args:
        estimator: gradient estimator, by its registered name.
        epochs: passes over the training images.
        draws: networks in the ensemble.
        seed: of the split, the initial values, the training and the ensemble.
    """

    estimator: str = "psa"
    epochs: int = 200
    draws: int = 200
    seed: int = 1

    def __post_init__(self) -> None:
        get_estimator(self.estimator)
        for name, least in (("epochs", 1), ("draws", 1), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ValueError(
                    f"demo: {name} is {value!r}; it must be an integer of at least {least}."
                )


@dataclass(frozen=True)
class DemoResult:
    """What came out: the posterior, the predictions on the test images, their scores."""

    settings: DemoSettings
    posterior: Posterior
    predictions: Predictions
    report: Report
    images: np.ndarray[Any, np.dtype[np.float64]]
    labels: np.ndarray[Any, np.dtype[np.int64]]
    single_draw_accuracy: float
    fit_seconds: float
    predict_seconds: float

    def __str__(self) -> str:
        bits = self.posterior.num_weights
        return "\n".join(
            [
                f"fitted 64-256-256-10, {bits} ±1 weights, by {self.settings.estimator!r} in "
                f"{self.fit_seconds:.1f} s (temperature {TEMPERATURE}, "
                f"{self.posterior.bits_per_weight:.2f} bits of entropy a weight)",
                f"predicted {len(self.labels)} test images with {self.settings.draws} binary "
                f"networks in {self.predict_seconds:.1f} s",
                f"accuracy of a single draw {self.single_draw_accuracy:.3f}; of the ensemble:",
                "",
                str(self.report),
            ]
        )

    def to_dict(self) -> dict[str, Any]:
        """Settings, scores and timings as plain values."""
        return {
            "settings": asdict(self.settings),
            "temperature": TEMPERATURE,
            "entropy_bits_per_weight": self.posterior.bits_per_weight,
            "single_draw_accuracy": self.single_draw_accuracy,
            "scores": self.report.to_dict(),
            "fit_seconds": self.fit_seconds,
            "predict_seconds": self.predict_seconds,
        }


def run_demo(settings: DemoSettings | None = None, *, progress: bool | None = None) -> DemoResult:
    """Fit, predict and score.

    Args:
        settings: see :class:`DemoSettings`.
        progress: show progress bars; default where standard error is a terminal.
    """
    from bayes_sbn import metrics

    settings = settings or DemoSettings()
    x, y, x_test, y_test = load_split(settings.seed)
    started = time.perf_counter()
    model, guide = fit_digits(x, y, settings, progress=progress)
    fit_seconds = time.perf_counter() - started

    started = time.perf_counter()
    posterior = Posterior.from_guide(model, guide, temperature=TEMPERATURE)
    ensemble = posterior.draw(settings.draws, seed=settings.seed)
    predictions = ensemble.predict(x_test, progress=progress)
    predict_seconds = time.perf_counter() - started
    labels = y_test.numpy()
    single = (predictions.probs_per_draw.argmax(-1) == labels).mean()
    return DemoResult(
        settings=settings,
        posterior=posterior,
        predictions=predictions,
        report=metrics.report(predictions, labels, seed=settings.seed),
        images=x_test.numpy().astype(np.float64),
        labels=labels,
        single_draw_accuracy=float(single),
        fit_seconds=fit_seconds,
        predict_seconds=predict_seconds,
    )


def load_split(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Train and test images in [-1, 1] and labels: ``x, y, x_test, y_test``."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    parts = train_test_split(
        images / 8 - 1, labels, test_size=360, stratify=labels, random_state=seed
    )
    x, x_test, y, y_test = parts
    return (
        torch.tensor(x, dtype=torch.float32),
        torch.tensor(y),
        torch.tensor(x_test, dtype=torch.float32),
        torch.tensor(y_test),
    )


def fit_digits(
    x: Tensor, y: Tensor, settings: DemoSettings, *, progress: bool | None = None
) -> tuple[BinaryMLP, AutoSignBernoulli]:
    """Fit by SVI: mini-batches, mirror descent, step sizes that decay to 0 as a cosine.

    The draws of the activations come from torch's global generator, which is seeded here and put
    back afterwards.
    """
    from pyro.infer import SVI
    from tqdm import tqdm

    with torch.random.fork_rng(devices=[]):
        generator = torch.default_generator.manual_seed(settings.seed)
        model = BinaryMLP(x.shape[1], [256, 256], 10, num_data=len(x))
        guide = AutoSignBernoulli(model)
        optim = MirrorDescent({"lr": 0.05, "real": ("Adam", {"lr": 0.01})})
        elbo = TraceEstimator_ELBO(settings.estimator, temperature=TEMPERATURE)
        svi = SVI(model, guide, optim, loss=elbo)
        hidden = None if progress is None else not progress
        bar = tqdm(range(settings.epochs), desc="fitting", unit="epoch", disable=hidden)
        for epoch in bar:
            optim.scale_lr(0.5 * (1 + math.cos(math.pi * epoch / settings.epochs)))
            losses = [
                svi.step(x[rows], y[rows])
                for rows in torch.randperm(len(x), generator=generator).split(BATCH_SIZE)
            ]
            bar.set_postfix(loss_per_image=f"{np.mean(losses) / len(x):.3f}")
    return model, guide


def save_figure(result: DemoResult, path: Path) -> None:
    """Write the picture: reliability diagram and the most uncertain digits, whole or not at all."""
    from bayes_sbn import plots

    figure = plots.summary_figure(
        result.predictions, result.images, result.labels, image_shape=IMAGE_SHAPE
    )
    with whole_file(path) as file:
        figure.savefig(file, format="png", dpi=150)
