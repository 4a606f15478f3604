"""The paths that commands are given, checked before seconds are spent on loading Keras."""

from pathlib import Path


def source(path: str | Path) -> Path:
    """Returns `path` if there is such a file."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    return Path(path)


def target(path: str | Path, overwrite: bool) -> Path:
    """Returns `path` if it may be written, before hours are spent on the content of the file."""
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {str(path.parent)!r} to write {path.name!r} in. Make it first.")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{str(path)!r} exists. Give another name, or --overwrite.")
    return path


def run_folder(path: str | Path) -> Path:
    """Returns `path` if it can be the name of a run."""
    folder = Path(path)
    if folder.suffix == ".keras":
        raise ValueError(
            f"A run is a folder, with the models and all about them. Received: {str(path)!r}. Name a folder, such as "
            f"{str(folder.with_suffix(''))!r}."
        )
    return folder


def model_file(path: str | Path) -> Path:
    """Returns the model of a run, the best one if there is one; a file is itself."""
    path = Path(path)
    if not path.is_dir():
        return path
    names = [path / f"{name}.keras" for name in ("best", "newest", "previous")]
    for name in names:
        if name.exists():
            return name
    raise FileNotFoundError(f"There is no model in the folder {str(path)!r}. Is it a run?")
