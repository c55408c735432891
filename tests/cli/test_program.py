"""The program around its commands: help, exit codes, output that nobody reads."""

import json
import math
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from bayes_sbn import cli, cli_output
from bayes_sbn.cli_arguments import BACKENDS
from bayes_sbn.kernels.streams import BACKENDS as KNOWN_BACKENDS

PROGRAM = [sys.executable, "-m", "bayes_sbn.cli"]


def run_program(*arguments, **options):
    return subprocess.run(
        [*PROGRAM, *arguments], capture_output=True, text=True, timeout=120, **options
    )


def test_every_command_has_a_help_with_examples(capsys):
    for command in cli.COMMANDS:
        name = command.__name__.removeprefix("bayes_sbn.cli_")
        with pytest.raises(SystemExit) as stopped:
            cli.main([name, "--help"])
        assert stopped.value.code == 0
        out = capsys.readouterr().out
        assert f"usage: bayes-sbn {name}" in out
        assert f"examples:\n  bayes-sbn {name}" in out


def test_help_needs_neither_torch_nor_scikit_learn():
    code = (
        "import sys; from bayes_sbn import cli; cli._parser(); "
        "print([m for m in ('torch', 'pyro', 'sklearn', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_the_backends_are_those_of_the_kernels():
    assert set(BACKENDS) == set(KNOWN_BACKENDS)


@pytest.mark.parametrize("error", [ValueError, OSError, RuntimeError])
def test_an_error_of_several_lines_is_said_in_one(error, monkeypatch, capsys):
    def fail(arguments):
        raise error("the first line\n    and the second")

    monkeypatch.setattr("bayes_sbn.cli_demo.run", fail)
    assert cli.main(["demo"]) == 1
    err = capsys.readouterr().err
    assert err == "bayes-sbn: the first line and the second\n"


def test_an_error_of_the_system_names_the_file_and_no_number(monkeypatch, capsys):
    monkeypatch.setattr("bayes_sbn.cli_demo.run", lambda _: Path("no/such/file").read_text())
    assert cli.main(["demo"]) == 1
    assert capsys.readouterr().err == "bayes-sbn: no/such/file: No such file or directory.\n"


def test_a_warning_is_one_line(monkeypatch, capsys):
    def warn(arguments):
        warnings.warn("mind\n  the gap", UserWarning, stacklevel=1)
        return 0

    monkeypatch.setattr("bayes_sbn.cli_demo.run", warn)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        shown = warnings.showwarning
        assert cli.main(["demo"]) == 0
        assert warnings.showwarning is shown
    assert capsys.readouterr().err == "bayes-sbn: warning: mind the gap\n"


def test_an_error_of_the_program_itself_keeps_its_traceback(monkeypatch):
    def fail(arguments):
        raise KeyError("a defect")

    monkeypatch.setattr("bayes_sbn.cli_demo.run", fail)
    with pytest.raises(KeyError, match="a defect"):
        cli.main(["demo"])


def test_output_that_nobody_reads_is_no_traceback():
    code = (
        "import sys; from bayes_sbn import cli, cli_demo\n"
        "def much(arguments):\n"
        "    print('x' * 10_000_000)\n"
        "    return 0\n"
        "cli_demo.run = much\n"
        "sys.exit(cli.main(['demo']))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout.read(1) == b"x"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 1


def test_json_has_no_numbers_that_json_lacks():
    text = cli_output.to_json({"a": [math.nan, math.inf, -math.inf, 1.5], "b": {"c": (True, None)}})
    assert json.loads(text) == {
        "a": ["NaN", "Infinity", "-Infinity", 1.5],
        "b": {"c": [True, None]},
    }


def test_the_version_is_printed():
    done = run_program("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("bayes-sbn 0")
