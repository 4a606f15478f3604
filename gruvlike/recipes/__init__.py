"""The settings of a training as data: parts by name and options, checked before anything is opened.

A `Recipe` can be written in JSON, changed, and built: `Recipe().build(corpus)` gives the model and the windows. The run
folder that `gruvlike train` writes keeps its recipe in `config.json`, and the options of that command are the options
of a recipe.
"""

from gruvlike._checks import by_name
from gruvlike.recipes._recipe import Assembly, Recipe

__all__ = ["Assembly", "Recipe", "get"]

_NAMES: dict[str, type[Recipe]] = {"paper": Recipe}


def get(recipe: str | Recipe) -> Recipe:
    """Returns the recipe of a name; a recipe is returned as it is.

    Args:
        recipe: "paper" (the published settings of 2015), or a `Recipe`.

    Raises:
        ValueError: If the name is unknown.

    Example:
        >>> from gruvlike import recipes
        >>> recipes.get("paper").network["units"]
        (1024,)
    """
    return by_name("recipe", recipe, Recipe, _NAMES, {})
