"""Runs the notebooks in place and keeps their outputs: pictures, players and text (`make notebooks`).

python examples/execute.py [NOTEBOOK ...]
"""

import copy
import sys
import tempfile
from pathlib import Path

import nbclient
import nbformat

from gruvlike._files import replacing


def executed(path: Path, folder: Path, timeout: int = 1800) -> nbformat.NotebookNode:
    """Returns a notebook with its outputs, run in a folder; a cell may take so many seconds."""
    notebook = nbformat.read(path, as_version=4)
    before = copy.deepcopy(notebook.metadata)
    resources = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(notebook, timeout=timeout, record_timing=False, resources=resources).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            # Warnings and progress bars name files of this machine.
            cell.outputs = [one for one in cell.outputs if one.get("name") != "stderr"]
    notebook.metadata = before  # the kernel adds its versions
    return notebook


def main() -> None:
    """Runs the notebooks that are named, or all but the first, which is kept without outputs."""
    for path in map(Path, sys.argv[1:] or sorted(Path(__file__).parent.glob("0[!1]*.ipynb"))):
        with tempfile.TemporaryDirectory() as folder:
            notebook = executed(path, Path(folder))
        with replacing(path) as temporary:
            nbformat.write(notebook, temporary)
        print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
