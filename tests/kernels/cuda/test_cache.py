"""Compiled kernels on disk: once for a source, an architecture and a compiler, and whole."""

import itertools
import os
from pathlib import Path

import pytest

from bayes_sbn.kernels.cuda import device
from bayes_sbn.kernels.cuda.cache import cache_folder, cache_key, cached


class CountingCompiler:
    """Says what it was asked to compile."""

    version = "13.0"

    def __init__(self):
        self.calls = []

    def compile(self, main, sources, architecture):
        self.calls.append((main, sorted(sources), architecture))
        return f"code {len(self.calls)} for {architecture}".encode()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("BAYES_SBN_CACHE", str(tmp_path / "kept" / "here"))
    return tmp_path / "kept" / "here"


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def test_each_architecture_is_compiled_once(folder):
    compiler = CountingCompiler()
    for _ in range(3):
        assert device.compiled(compiler, "sm_90") == b"code 1 for sm_90"
    assert device.compiled(compiler, "sm_80") == b"code 2 for sm_80"
    assert len(compiler.calls) == 2
    assert [path.suffix for path in files(folder)] == [".cubin", ".cubin"]  # nothing temporary
    main, names, _ = compiler.calls[0]
    assert main in names
    assert {"cdf64.h", "philox.h", "layer.cuh"} <= set(names)


def test_sources_are_what_the_kernels_include():
    texts = device.sources()
    assert "ensemble_draws.h" not in texts  # of the CPU alone
    included = {
        line.split('"')[1]
        for text in texts.values()
        for line in text.splitlines()
        if line.startswith('#include "')
    }
    assert included | {device.MAIN} == set(texts)


def test_a_change_of_anything_is_another_file(folder, monkeypatch):
    compiler = CountingCompiler()
    device.compiled(compiler, "sm_90")
    compiler.version = "13.1"
    device.compiled(compiler, "sm_90")
    texts = device.sources()
    monkeypatch.setattr(device, "sources", lambda: texts | {"cdf64.h": texts["cdf64.h"] + " "})
    device.compiled(compiler, "sm_90")
    assert len(compiler.calls) == len(files(folder)) == 3
    one = {"a": "bc", "d": ""}
    keys = {
        cache_key(sources, architecture, compiled_by, options)
        for sources, architecture, compiled_by, options in itertools.product(
            (one, {"ab": "c", "d": ""}, {"a": "bcd"}),
            ("sm_80", "sm_90"),
            ("12.9", "13.0"),
            ((), ("x",)),
        )
    }
    assert len(keys) == 24


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data[:20],
        lambda data: data + b"x",
        lambda data: data[:-3] + bytes([data[-3] ^ 1]) + data[-2:],
        lambda data: b"X" + data[1:],
    ],
)
def test_a_damaged_file_is_compiled_again(folder, damage):
    compiler = CountingCompiler()
    device.compiled(compiler, "sm_90")
    (path,) = files(folder)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert device.compiled(compiler, "sm_90") == b"code 2 for sm_90"
    assert device.compiled(compiler, "sm_90") == b"code 2 for sm_90"  # mended
    assert len(compiler.calls) == 2
    assert files(folder) == [path]


def test_what_cannot_be_compiled_leaves_nothing(folder):
    def refuse() -> bytes:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        cached("key", refuse)
    assert not folder.exists()


def test_an_interrupted_write_leaves_nothing(folder, monkeypatch):
    def interrupted(self, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cached("key", lambda: b"code")
    assert files(folder) == []


def test_a_folder_that_cannot_be_written_to_is_said(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BAYES_SBN_CACHE", str(tmp_path / "file"))
    with pytest.warns(RuntimeWarning, match=r"in every process.*file.*in BAYES_SBN_CACHE"):
        assert cached("key", lambda: b"code") == b"code"


def test_where_the_folder_is(monkeypatch):
    monkeypatch.delenv("BAYES_SBN_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", os.sep + "somebody")
    monkeypatch.setenv("USERPROFILE", os.sep + "somebody")
    assert cache_folder() == Path(os.sep, "somebody", ".cache", "bayes_sbn")
    monkeypatch.setenv("XDG_CACHE_HOME", os.sep + "caches")
    assert cache_folder() == Path(os.sep, "caches", "bayes_sbn")
    monkeypatch.setenv("BAYES_SBN_CACHE", "own")
    assert cache_folder() == Path("own")
