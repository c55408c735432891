"""``bayes-sbn demo``: the main job on the embedded data; fit, predict, calibrate, report."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from bayes_sbn.cli_arguments import add_command, add_output_options, at_least, progress_of
from bayes_sbn.cli_output import show

if TYPE_CHECKING:
    from bayes_sbn.cli_arguments import Commands


def add_parser(commands: Commands) -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "demo",
        help="fit handwritten digits and predict them with an ensemble of binary networks",
        description="Fit scikit-learn's handwritten digits with a network of ±1 weights and ±1\n"
        "activations, predict 360 test images with an ensemble of binary networks in packed\n"
        "bits, print scores with intervals, and write one picture.",
        examples="  bayes-sbn demo\n  bayes-sbn demo --epochs 20 --save digits.sbn --json",
    )
    parser.add_argument("--seed", type=at_least(0), default=1, help="of everything random (1)")
    parser.add_argument(
        "--epochs", type=at_least(1), default=200, help="passes over the data (200)"
    )
    parser.add_argument("--draws", type=at_least(1), default=200, help="networks (200)")
    parser.add_argument("--estimator", default="psa", help="gradient estimator (psa)")
    parser.add_argument(
        "--picture", type=Path, default=Path("digits.png"), help="where to write it (digits.png)"
    )
    parser.add_argument("--save", type=Path, help="also save the posterior, e.g. digits.sbn")
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the demonstration."""
    for path in (arguments.picture, arguments.save):
        if path is not None and not path.absolute().parent.is_dir():
            raise ValueError(f"{path}: the folder {path.absolute().parent} does not exist.")
    from bayes_sbn.demo import DemoSettings, run_demo, save_figure

    settings = DemoSettings(
        estimator=arguments.estimator,
        epochs=arguments.epochs,
        draws=arguments.draws,
        seed=arguments.seed,
    )
    result = run_demo(settings, progress=progress_of(arguments))
    save_figure(result, arguments.picture)
    lines = [str(result), "", f"picture: {arguments.picture}"]
    if arguments.save is not None:
        result.posterior.save(arguments.save)
        lines.append(f"posterior: {arguments.save} ({arguments.save.stat().st_size} bytes)")
    show(arguments, "\n".join(lines), {**result.to_dict(), "picture": str(arguments.picture)})
    return 0
