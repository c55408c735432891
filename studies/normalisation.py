r"""What normalisation of the hidden layers does for networks fitted to handwritten digits.

    python -m studies.normalisation
    python -m studies.normalisation --quick    (one split, few epochs: that it runs, not a result)
    python -m studies.normalisation --speed    (what a step costs)

For each kind of normalisation and each split of scikit-learn's digits into 1437 training and 360
test images: ``sbn.fit``, the automatic temperature, and the scores of 200 packed networks; those of
"recalibrated" measure their statistics on the training images.  A last column has the share of test
images that the mode of the posterior gets right (its weights fixed, 50 draws of the noise).  Rows
are means over the splits, with their standard deviation in brackets.  The last line is one JSON
object.

``--speed`` has the time of a step of "psa" on 784-512-512-10, 128 rows of noise, one thread, as a
multiple of that without normalisation: medians of interleaved steps.
"""

import argparse
import json
import time

import numpy as np
import torch
from pyro.infer import SVI
from sklearn.datasets import load_digits

import bayes_sbn as sbn

KINDS = (None, "analytic", "frozen", "recalibrated")
COLUMNS = ("accuracy", "nll", "ece", "draw accuracy", "mode accuracy", "seconds")


def scores(kind: str | None, hidden: list[int], epochs: int, seed: int) -> list[float]:
    """The columns of one fit."""
    images, labels = load_digits(return_X_y=True)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    x = torch.tensor(images / 8 - 1, dtype=torch.float32)[order]
    y = torch.tensor(labels)[order]
    torch.manual_seed(seed)
    model = sbn.models.BinaryMLP(64, hidden, 10, num_data=1437, normalisation=kind)
    guide = sbn.guides.AutoSignBernoulli(model)
    started = time.perf_counter()
    sbn.fit(model, guide, (x[:1437], y[:1437]), epochs=epochs, progress=False)
    seconds = time.perf_counter() - started
    posterior = sbn.Posterior.from_guide(model, guide)
    calibrate = {"calibrate": x[:1437]} if kind == "recalibrated" else {}
    found = posterior.draw(200, **calibrate).predict(x[1437:])
    mode = posterior.mode().draw(50, **calibrate).predict(x[1437:])
    truth = y[1437:].numpy()
    return [
        float((found.mean.argmax(1) == truth).mean()),
        sbn.metrics.nll(found.mean, truth),
        sbn.metrics.ece(found.mean, truth),
        float((found.probs_per_draw.argmax(2) == truth).mean()),
        float((mode.mean.argmax(1) == truth).mean()),
        seconds,
    ]


def speed(repeats: int, width: int) -> None:
    """The time of a step, as a multiple of that without normalisation."""
    x, y = torch.randn(128, 784), torch.randint(10, (128,))
    steps, seconds = {}, {kind: [] for kind in KINDS}
    for kind in KINDS:
        model = sbn.models.BinaryMLP(784, [width] * 2, 10, num_data=1280, normalisation=kind)
        guide = sbn.guides.AutoSignBernoulli(model)
        optim = sbn.optim.MirrorDescent({"lr": 0.01})
        steps[kind] = SVI(model, guide, optim, loss=sbn.TraceEstimator_ELBO("psa")).step
    for repeat in range(repeats + 2):
        for kind, step in steps.items():
            started = time.perf_counter()
            step(x, y)
            if repeat >= 2:
                seconds[kind].append(time.perf_counter() - started)
    plain = np.median(seconds[None])
    found = {str(k): round(float(np.median(s) / plain), 2) for k, s in seconds.items()}
    print(f"a step without normalisation: {1e3 * plain:.1f} ms")
    print(json.dumps({"study": "normalisation", "metric": "step time ratio", "value": found}))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one split, 2 epochs, 16-16")
    parser.add_argument("--speed", action="store_true", help="the time of a step instead")
    parser.add_argument("--hidden", type=int, nargs="+", default=[128, 128])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--splits", type=int, default=3)
    options = parser.parse_args(arguments)
    if options.quick:
        options.hidden, options.epochs, options.splits = [16, 16], 2, 1
    torch.set_num_threads(1)
    if options.speed:
        speed(3 if options.quick else 30, 16 if options.quick else 512)
        return
    widths = "-".join(map(str, [64, *options.hidden, 10]))
    print(f"{widths}, {options.epochs} epochs, {options.splits} splits")
    print(f"{'normalisation':14}" + "".join(f"{name:>17}" for name in COLUMNS))
    nll = {}
    for kind in KINDS:
        runs = [
            scores(kind, options.hidden, options.epochs, seed) for seed in range(options.splits)
        ]
        mean, spread = np.mean(runs, 0), np.std(runs, 0)
        cells = [f"{m:.3f} ({s:.3f})" for m, s in zip(mean, spread, strict=True)]
        print(f"{kind or 'none':14}" + "".join(f"{cell:>17}" for cell in cells), flush=True)
        nll[kind or "none"] = round(float(mean[1]), 4)
    result = {"study": "normalisation", "metric": "nll", "value": nll, "network": widths}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
