"""The command line program ``bayes-sbn``.

``bayes-sbn demo`` is the main job on the embedded data: fit, predict, calibrate, report.  Exit
codes: 0 done, 1 failed, 2 wrong arguments, 130 interrupted.  Errors are one line, without a
traceback.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bayes_sbn import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program with these arguments (default: the process's own)."""
    arguments = _parser().parse_args(argv)
    try:
        return _demo(arguments)
    except KeyboardInterrupt:
        print("bayes-sbn: interrupted", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(f"bayes-sbn: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bayes-sbn", description="Bayesian learning with stochastic binary networks."
    )
    parser.add_argument("--version", action="version", version=f"bayes-sbn {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    demo = commands.add_parser(
        "demo",
        help="fit handwritten digits and predict them with an ensemble of binary networks",
        description="Fit scikit-learn's handwritten digits with a network of ±1 weights and ±1 "
        "activations, predict 360 test images with an ensemble of binary networks in packed "
        "bits, print scores with intervals, and write one picture.",
    )
    demo.add_argument("--seed", type=_at_least(0), default=1, help="of everything random (1)")
    demo.add_argument("--epochs", type=_at_least(1), default=200, help="passes over the data (200)")
    demo.add_argument("--draws", type=_at_least(1), default=200, help="networks (200)")
    demo.add_argument("--estimator", default="psa", help="gradient estimator (psa)")
    demo.add_argument(
        "--picture", type=Path, default=Path("digits.png"), help="where to write it (digits.png)"
    )
    demo.add_argument("--save", type=Path, help="also save the posterior, e.g. digits.sbn")
    demo.add_argument("--json", action="store_true", help="print JSON in place of a table")
    demo.add_argument("--quiet", action="store_true", help="no progress bars")
    return parser


def _at_least(least: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not an integer") from None
        if value < least:
            raise argparse.ArgumentTypeError(f"{value} is less than {least}")
        return value

    return convert


def _demo(arguments: argparse.Namespace) -> int:
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
    # tqdm hides itself where standard error is not a terminal; None leaves that to it
    result = run_demo(settings, progress=False if arguments.quiet else None)
    save_figure(result, arguments.picture)
    if arguments.save is not None:
        result.posterior.save(arguments.save)
    if arguments.json:
        print(json.dumps({**result.to_dict(), "picture": str(arguments.picture)}, indent=2))
        return 0
    print(result)
    print(f"\npicture: {arguments.picture}")
    if arguments.save is not None:
        print(f"posterior: {arguments.save} ({arguments.save.stat().st_size} bytes)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
