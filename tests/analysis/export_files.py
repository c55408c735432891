"""Small exports in files, written by ArviZ 0.x and by ArviZ 1.x, that both must be able to read.

``python -m tests.analysis.export_files`` writes the file of the ArviZ that is installed; under
0.23.4 and 1.3.0 it made ``tests/vectors/export_arviz_0.nc.gz`` and ``export_arviz_1.nc.gz``, and
``export_diagnosis.json``, what is diagnosed of them.  NetCDF files of so few numbers are mostly
empty, hence gzip.
"""

import gzip
import tempfile
from pathlib import Path

import bayes_sbn as sbn
from bayes_sbn.analysis.arviz_versions import holds_trees
from tests.analysis.posteriors import labelled
from tests.plain_networks import random_posterior

VECTORS = Path(__file__).parents[1] / "vectors"
FILES = {major: VECTORS / f"export_arviz_{major}.nc.gz" for major in (0, 1)}
DIAGNOSIS = VECTORS / "export_diagnosis.json"


def export():
    """Two restarts of a network of 20 weights."""
    x, y = labelled(8, 3, 2)
    pair = [
        random_posterior((3, 4, 2), ("logistic",), temperature=0.1, label=f"restart {index}")
        for index in range(2)
    ]
    return sbn.to_arviz(
        pair,
        x,
        y,
        num_draws=30,
        num_activations=2,
        num_prior_draws=4,
        num_defensive_draws=8,
        x_test=x[:3],
        y_test=y[:3],
        packed=True,
        class_names=["no", "yes"],
    )


def unzipped(major, folder):
    """The path of a NetCDF file of this major version of ArviZ, in a folder."""
    path = Path(folder) / FILES[major].stem
    path.write_bytes(gzip.decompress(FILES[major].read_bytes()))
    return path


def write():
    """The file of the ArviZ that is installed, and the diagnosis."""
    idata = export()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "export.nc"
        idata.to_netcdf(str(path))
        FILES[int(holds_trees())].write_bytes(gzip.compress(path.read_bytes(), 9, mtime=0))
    DIAGNOSIS.write_text(sbn.diagnose(idata).to_json() + "\n", "utf-8")


if __name__ == "__main__":
    write()
