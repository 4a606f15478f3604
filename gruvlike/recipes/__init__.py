"""The settings of a training as data: parts by name and options, checked before anything is opened.

A `Recipe` can be written in JSON, changed, and built: `Recipe().build(corpus)` gives the model and the windows. The run
folder that `gruvlike train` writes keeps its recipe in `config.json`, and the options of that command are the options
of a recipe.
"""

from collections.abc import Callable

from gruvlike._checks import by_name
from gruvlike.recipes._named import music
from gruvlike.recipes._recipe import Assembly, Recipe

__all__ = ["Assembly", "Recipe", "get"]

_NAMES: dict[str, Callable[[], Recipe]] = {"music": music, "paper": Recipe}


def get(recipe: str | Recipe) -> Recipe:
    """Returns the recipe of a name; a recipe is returned as it is.

    Args:
        recipe: "music" (the settings that make music, the default of `gruvlike train`), "paper" (the published ones of
            2015), or a `Recipe`.

    Raises:
        ValueError: If the name is unknown.

    Example:
        >>> from gruvlike import recipes
        >>> recipes.get("paper").network["units"], recipes.get("music").network["units"]
        ((1024,), (256, 256))
    """
    return by_name("recipe", recipe, Recipe, _NAMES, {})
