"""``bayes-sbn summary``: what a run or the file of a posterior holds."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bayes_sbn.cli_arguments import add_command, add_output_options
from bayes_sbn.cli_output import show
from bayes_sbn.cli_run import FIT, NETWORK, SCORES, Run

if TYPE_CHECKING:
    from bayes_sbn.cli_arguments import Commands
    from bayes_sbn.posterior import Posterior


def add_parser(commands: Commands) -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "summary",
        help="what a run or the file of a posterior holds: layers, bits, sizes, how decided",
        description="Print what a fitted network is made of: its layers, how many ±1 weights, how\n"
        "many bits of entropy each has left, bytes on the disk and of a network; of a run also\n"
        "its data, settings and scores.",
        examples="  bayes-sbn summary run\n"
        "  bayes-sbn summary run/posterior.sbn --json\n"
        "  bayes-sbn summary digits.sbn",
    )
    parser.add_argument("path", metavar="RUN|FILE.sbn", help="a folder that fit made, or a file")
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Read and tell."""
    path = Path(arguments.path)
    from bayes_sbn.metrics.report_base import counted
    from bayes_sbn.posterior import Posterior

    if not path.is_dir():
        if not path.exists():
            raise ValueError(f"{path}: there is no such file or folder.")
        posterior = Posterior.load(path)
        size = path.stat().st_size
        text = "\n".join([f"{path}, {size:,} bytes", str(posterior)])
        show(arguments, text, {"file": str(path), "posterior": _told(posterior, size)})
        return 0
    folder = Run(arguments.path)
    posterior = folder.posterior()
    settings, preprocessing = folder.settings(), folder.preprocessing()
    network, log = folder.read_json(NETWORK), folder.log()
    ended = folder.read_json(FIT) if folder.path(FIT).exists() else None
    scores = folder.read_json(SCORES) if folder.path(SCORES).exists() else None
    size = folder.path("posterior.sbn").stat().st_size
    rows = ", ".join(f"{count} {part}" for part, count in settings["rows"].items() if count)
    lines = [
        f"{path}: {settings['data']}, {len(preprocessing.columns.inputs)} inputs, "
        f"{preprocessing.target_in_words()}; rows: {rows}",
        f"posterior.sbn, {size:,} bytes",
        str(posterior),
        f"a network takes {network['bytes_packed']:,} bytes in packed bits, "
        f"{network['bytes_float']:,} in float32; the mean |mu| of its ±1 weights is "
        f"{network['certainty']:.3f}",
    ]
    if log:
        last = log[-1]
        kept = "" if ended is None else f"; parameters of epoch {ended['epoch']} are kept"
        lines.append(
            f"{counted(len(log), 'epoch')}, {counted(last['steps'], 'step')}; the last loss "
            f"{last['loss']:.4g} nats a row{kept}"
        )
    if scores is not None:
        told = ", ".join(f"{name} {each['value']:.4g}" for name, each in _values(scores).items())
        lines.append(f"test rows: {told}")
    contents = {
        "run": arguments.path,
        "settings": settings,
        "task": preprocessing.task,
        "classes": list(preprocessing.classes),
        "posterior": _told(posterior, size),
        "network": network,
        "epochs": len(log),
        "fit": ended,
        "scores": scores,
    }
    show(arguments, "\n".join(lines), contents)
    return 0


def _values(scores: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The scores whose values are numbers; infinite ones are text in JSON."""
    return {
        name: {**each, "value": float(each["value"])} for name, each in scores["metrics"].items()
    }


def _told(posterior: Posterior, size: int) -> dict[str, Any]:
    """A posterior as plain values."""
    return {
        "likelihood": posterior.likelihood,
        "num_components": len(posterior.components),
        "num_inputs": posterior.num_inputs,
        "num_outputs": posterior.num_classes,
        "num_weights": posterior.num_weights,
        "num_real_weights": posterior.num_real_weights,
        "bits_per_weight": posterior.bits_per_weight,
        "input_limit": posterior.input_limit,
        "temperature": posterior.temperature,
        "format_version": posterior.format_version,
        "package_version": posterior.package_version,
        "digest": posterior.digest,
        "bytes": size,
        "layers": [
            {
                "name": layer.name,
                "num_inputs": layer.num_inputs,
                "num_units": layer.num_units,
                "num_weights": layer.num_weights,
                "entropy": layer.entropy,
                "noise": layer.noise,
                "bytes_per_draw": layer.packed_bytes,
            }
            for layer in posterior.components[0].layers
        ],
    }
