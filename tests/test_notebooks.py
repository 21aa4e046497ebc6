import os
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.py"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_the_notebook_runs_and_shows_pictures(path, tmp_path):
    notebook = jupytext.read(path)
    client = NotebookClient(notebook, timeout=3000, kernel_name="python3", resources={"metadata": {"path": tmp_path}})
    # One thread: where cores are shared, more of them wait for each other.
    client.execute(env={**os.environ, "OMP_NUM_THREADS": "1"})
    nbformat.validate(notebook)
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [o for o in outputs if o.output_type == "error"]
    assert any("image/png" in o.get("data", {}) for o in outputs)


def test_there_is_a_quickstart():
    assert NOTEBOOKS[0].stem == "01_quickstart"
