"""Files of ArviZ 0.23 and of 1.3 say the same, whichever of the two is installed."""

import json

import pytest
import xarray as xr

import bayes_sbn as sbn
from bayes_sbn.analysis import unpack
from bayes_sbn.analysis.arviz_versions import arviz, groups_of
from tests.analysis.export_files import DIAGNOSIS, FILES, unzipped


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports")
    return {major: unzipped(major, folder) for major in FILES}


def check_alike(found, wanted):
    """The same words, and numbers to 1e-9."""
    assert type(found) is type(wanted)
    if isinstance(wanted, dict):
        assert set(found) == set(wanted)
        for name, value in wanted.items():
            check_alike(found[name], value)
    elif isinstance(wanted, list):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            check_alike(one, other)
    elif isinstance(wanted, float):
        assert found == pytest.approx(wanted, rel=1e-9, abs=1e-9)
    else:
        assert found == wanted


@pytest.mark.parametrize("major", FILES)
def test_file_of_either_version_is_diagnosed_alike(paths, major):
    found = json.loads(sbn.diagnose(paths[major]).to_json())
    check_alike(found, json.loads(DIAGNOSIS.read_text("utf-8")))


def test_files_have_the_same_groups(paths):
    old, new = (groups_of("test", paths[major]) for major in FILES)
    assert set(old) == set(new)
    for name, group in old.items():
        xr.testing.assert_identical(new[name], group)


def test_arviz_itself_reads_both(paths):
    old, new = (arviz().from_netcdf(str(paths[major])) for major in FILES)
    table = arviz().summary(old)
    assert len(table) == 9
    assert table.equals(arviz().summary(new))
    assert unpack(old, "layer0").identical(unpack(new, "layer0"))
