"""The commands of docs/command_line.md run as they stand, in their order."""

import shlex
from pathlib import Path

from tests.test_docs import DOCS, blocks

PAGE = DOCS / "command_line.md"


def test_the_commands_of_the_page_run(program, tmp_path):
    namespace = {"__name__": "page"}
    commands = []
    for block in blocks(PAGE.read_text("utf-8")):
        if block.language == "python":
            exec(compile(block.text, str(PAGE), "exec"), namespace)
        if block.language != "sh":
            continue
        for line in block.text.splitlines():
            name, *arguments = shlex.split(line)
            assert name == "bayes-sbn"
            # fits as long as users' are made once, for the figures of the page
            short = ("--epochs", "3") if arguments[0] == "fit" else ()
            program(*arguments, *short)
            commands.append(arguments[0])
    assert set(commands) == {"fit", "evaluate", "summary", "predict"}
    assert Path("predictions.csv").read_text().splitlines()[0] in PAGE.read_text("utf-8")


def test_the_page_states_the_defaults_of_the_program():
    from bayes_sbn import cli_fit, cli_preprocessing

    text = " ".join(PAGE.read_text("utf-8").split())
    assert f"about {cli_fit.STEPS} steps, at least {cli_fit.FEWEST_EPOCHS}." in text
    assert f"at most {cli_preprocessing.MANY_CLASSES} different whole numbers" in text


def test_the_page_names_every_file_of_a_run():
    from bayes_sbn.cli_run import FILES

    text = PAGE.read_text("utf-8")
    assert all(f"| `{name}` |" in text for name in FILES)
