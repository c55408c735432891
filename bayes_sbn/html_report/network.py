"""The network and its fit: layers, how decided the signs are, the temperature, the course."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bayes_sbn import plots
from bayes_sbn.html_report.markup import Content, Markup, element, facts, picture, table
from bayes_sbn.html_report.material import Course, Material
from bayes_sbn.html_report.page import Section
from bayes_sbn.html_report.words import counted, duration, number, percent, short
from bayes_sbn.network_summary_posterior import summary_of_posterior
from bayes_sbn.network_summary_result import Summary
from bayes_sbn.plots.canvas import new_axes
from bayes_sbn.posterior import Posterior
from bayes_sbn.training_result import EpochRecord, best_epoch

_ENDED = {
    "epochs": "all epochs were done",
    "patience": "stopped early: the validation NLL no longer fell",
    "interrupted": "interrupted",
}


def network(material: Material) -> Section:
    """Layers, sizes and the temperature of the posterior."""
    posterior = material.posterior
    found = summary_of_posterior(posterior)
    pairs: list[tuple[Content, Content]] = [
        ("network", _shape(posterior)),
        ("weights", _weights(posterior)),
        ("memory of one network", _memory(found)),
        ("temperature", _temperature(posterior.temperature)),
    ]
    if len(posterior.components) > 1:
        weights = ", ".join(f"{component.weight:.3g}" for component in posterior.components)
        pairs.append(("components", f"{len(posterior.components)}, of weights {weights}"))
    if not material.is_classes:
        sigmas = [c.sigma for c in posterior.components if c.sigma is not None]
        words = ", ".join(map(short, sigmas))
        unit = " (in standardised units)" if material.rescale is not None else ""
        pairs.append(("noise of the target", f"standard deviation {words}{unit}"))
    note = (
        "XNOR, add and multiply are operations for one row. Entropy and KL (from the prior) are in "
        "bits a weight; certainty is the mean of |2p − 1|, 0 for fair coins and 1 for fixed signs."
    )
    content = [facts(pairs), _layers(found), element("p", note, class_="note")]
    numbers = {**found.to_dict(), "temperature": posterior.temperature, "digest": posterior.digest}
    return Section("model", "Model", content, numbers)


def _shape(posterior: Posterior) -> str:
    layers = posterior.components[0].layers
    sizes = "-".join(map(str, [posterior.num_inputs, *(layer.num_units for layer in layers)]))
    laws = {layer.noise for layer in layers if layer.noise is not None}
    noise = f", ±1 activations with {' and '.join(sorted(laws))} noise" if laws else ""
    end = "labels of classes" if posterior.likelihood == "categorical" else "a real target"
    return f"{sizes}{noise}, {end}"


def _weights(posterior: Posterior) -> str:
    real = posterior.num_real_weights
    beside = f", and {real:,} real weights" if real else ""
    return (
        f"{posterior.num_weights:,} of ±1, with {posterior.bits_per_weight:.3f} bits of entropy "
        f"each on average{beside}"
    )


def _memory(found: Summary) -> str:
    ratio = found.bytes_float / max(1, found.bytes_packed)
    return f"{found.bytes_packed:,} bytes; in float32 it would be {ratio:.1f} times as much"


def _temperature(temperature: float | None) -> str:
    if temperature is None:
        return "not known: the posterior does not say what the KL cost in the fit"
    if temperature == 1:
        return "1: the posterior of the bound itself"
    way = "narrower" if temperature < 1 else "wider"
    return (
        f"{temperature:.4g}: in the fit a nat of KL cost {temperature:.4g} nats, so the posterior "
        f"is {way} than that of the bound"
    )


def _layers(found: Summary) -> Markup:
    last = ["spread"] if any(layer.spread is not None for layer in found.layers) else []
    head = ["layer", "kind", "weights", "shape", "units", "XNOR", "add", "multiply"]
    rows = []
    for layer in found.layers:
        counts = (layer.units, layer.xnors, layer.additions, layer.multiplications)
        decided = [layer.entropy, layer.divergence, layer.certainty, layer.spread][: 3 + len(last)]
        rows.append(
            [
                layer.name,
                layer.kind,
                layer.weight,
                " × ".join(map(str, layer.shape)),
                *(f"{n:,}" for n in counts),
                *("–" if value is None else f"{value:.3f}" for value in decided),
            ]
        )
    return table([*head, "entropy", "KL", "certainty", *last], rows, left=4)


def training(material: Material) -> Section | None:
    """The course of the fit, where it is known."""
    course = material.course
    if course is None:
        return None
    records = course.records
    kept = records[-1] if course.fit is None else records[course.fit.epoch - 1]
    pairs = _facts_of_fit(course, kept)
    loss = [record.loss for record in records]
    axes = new_axes(8.0, 3.6)
    plots.fit_trace(records if course.fit is None else course.fit, axes)
    caption = (
        "Nats a row, by epoch. The loss holds the KL at the fit's temperature and is a mean over "
        "the epoch's steps; validation scores are without it, at the epoch's end."
    )
    words = f"Loss by epoch, from {short(loss[0])} to {short(loss[-1])} nats a row."
    content: list[Content] = [facts(pairs), picture(axes.figure, words, caption, wide=True)]
    numbers: dict[str, Any] = {
        "epochs": len(records),
        "kept_epoch": kept.epoch if course.fit is not None else None,
        "best_epoch": best_epoch(records),
        "stopped": None if course.fit is None else course.fit.stopped,
        "seconds": sum(record.seconds for record in records),
        "last": records[-1].to_dict(),
    }
    return Section("training", "Training", content, numbers)


def _facts_of_fit(course: Course, kept: EpochRecord) -> list[tuple[Content, Content]]:
    records = course.records
    ended = "" if course.fit is None else f"; {_ENDED[course.fit.stopped]}"
    pairs: list[tuple[Content, Content]] = [
        ("epochs", f"{len(records):,} ({records[-1].steps:,} steps){ended}"),
        ("time", duration(sum(record.seconds for record in records))),
    ]
    where = "parameters kept" if course.fit is not None else "last epoch"
    scores = [f"loss {number(kept.loss)} nats a row"]
    if kept.validation_nll is not None:
        scores.append(f"validation NLL {number(kept.validation_nll)}")
    if kept.kl_bits_per_weight is not None:
        scores.append(f"KL {kept.kl_bits_per_weight:.3f} bits a weight")
    pairs.append((where, f"of epoch {kept.epoch}: {', '.join(scores)}"))
    best = best_epoch(records)
    if best is not None:
        smallest = number(_nll_of(records, best))
        pairs.append(("smallest validation NLL", f"{smallest}, in epoch {best}"))
    if course.folder is not None:
        pairs.append(("read from", element("code", course.folder)))
    return pairs


def _nll_of(records: Sequence[EpochRecord], epoch: int) -> float:
    value = next(record.validation_nll for record in records if record.epoch == epoch)
    assert value is not None
    return value


def signs(material: Material) -> Section:
    """How decided the ±1 weights are, layer by layer."""
    posterior = material.posterior
    figures: list[Content] = []
    found = summary_of_posterior(posterior)
    words = ", ".join(
        f"{layer.name} {layer.certainty:.2f}"
        for layer in found.layers
        if layer.certainty is not None
    )
    shape = material.image_shape
    first = posterior.components[0].layers[0]
    as_images = shape if shape is not None and len(shape) == 2 and first.num_weights else None
    number_of = len(posterior.components)
    for component in range(number_of):
        figure = plots.sign_certainty(
            posterior,
            component=component,
            image_shape=None if as_images is None else (as_images[0], as_images[1]),
        )
        which = f"Component {component}. " if number_of > 1 else ""
        caption = (
            f"{which}|2p − 1| of each ±1 weight: 0 (dark) is a fair coin, which says nothing, and "
            "1 (bright) a sign that is certain. Rows are units, columns their inputs"
            + ("; the first layer is drawn as images of its units' weights." if as_images else ".")
        )
        figures.append(picture(figure, f"Certainty of the signs: {words}.", caption, wide=True))
        if component + 1 == _COMPONENTS < number_of:
            rest = counted(number_of - _COMPONENTS, "component")
            figures.append(element("p", f"{rest} more are not drawn.", class_="note"))
            break
    undecided = [
        f"{layer.name}: {percent(1 - layer.certainty, 0)}"
        for layer in found.layers
        if layer.certainty is not None
    ]
    text = f"Mean distance of the weights from a fixed sign, by layer: {', '.join(undecided)}."
    numbers = {layer.name: layer.certainty for layer in found.layers}
    return Section("signs", "Certainty of the signs", [element("p", text), *figures], numbers)


_COMPONENTS = 3
"""Components whose signs are drawn, at most."""
