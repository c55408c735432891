"""The command line program ``bayes-sbn``: its commands, and how errors become exit codes.

A command is a module beside this one, listed in ``COMMANDS``, with two functions:
``add_parser(commands)`` declares its arguments and ends with ``parser.set_defaults(run=run)``;
``run(arguments)`` does the work and returns the exit code.  What is slow to import, torch with all
that stands on it, they import in ``run``, so that help and wrong arguments answer at once.

Exit codes: 0 done, 1 failed, 2 wrong arguments, 130 interrupted.  Errors are one line on standard
error, without a traceback.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence

import bayes_sbn.cli_demo as cli_demo
import bayes_sbn.cli_evaluate as cli_evaluate
import bayes_sbn.cli_fit as cli_fit
import bayes_sbn.cli_predict as cli_predict
import bayes_sbn.cli_report as cli_report
import bayes_sbn.cli_summary as cli_summary
from bayes_sbn import __version__

COMMANDS = (cli_demo, cli_fit, cli_evaluate, cli_predict, cli_report, cli_summary)
"""The modules of the commands, in the order in which help lists them."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program with these arguments (default: the process's own)."""
    try:
        arguments = _parser().parse_args(argv)
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            code: int = arguments.run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("bayes-sbn: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # who read the output went away; what is left in the buffer must not fail at exit again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, OSError, RuntimeError) as error:
        print(f"bayes-sbn: {' '.join(_words(error).split())}", file=sys.stderr)
        return 1
    return code


def _words(error: Exception) -> str:
    """What an error says; of the system's own the file and the reason, without its number."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}."
    return str(error)


def _warn(message: Warning | str, *others: object, **more: object) -> None:
    """A warning as one line; where in the package it arose is not for users of the program."""
    del others, more
    print(f"bayes-sbn: warning: {' '.join(str(message).split())}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bayes-sbn",
        description="Bayesian learning with stochastic binary networks.",
        epilog="bayes-sbn COMMAND --help tells the arguments of a command, with examples.",
    )
    parser.add_argument("--version", action="version", version=f"bayes-sbn {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for command in COMMANDS:
        command.add_parser(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
