"""Frames in the units that a network learns well, and back.

Shapes: frames `(..., F)` of an encoder, normalized frames `(..., W)`, all float32. `Normalizer` states the contract;
those below `Affine` have one shift and one scale a feature, so that W = F; `PrincipalComponents` has fewer numbers.
"""

from typing import Any

from gruvlike._checks import by_name
from gruvlike.normalizers._affine import Affine, GlobalScale, Identity, MinMax, Standardizer
from gruvlike.normalizers._normalizer import Normalizer
from gruvlike.normalizers._principal_components import PrincipalComponents
from gruvlike.normalizers._statistics import Statistics, measure

__all__ = [
    "Affine",
    "GlobalScale",
    "Identity",
    "MinMax",
    "Normalizer",
    "PrincipalComponents",
    "Standardizer",
    "Statistics",
    "get",
    "measure",
]

_NAMES: dict[str, type[Normalizer]] = {
    "standardizer": Standardizer,
    "global_scale": GlobalScale,
    "min_max": MinMax,
    "identity": Identity,
    "principal_components": PrincipalComponents,
}


def get(normalizer: str | Normalizer, **options: Any) -> Normalizer:
    """Returns the normalizer of a name, for configuration files; a normalizer is returned as it is.

    Args:
        normalizer: "standardizer", "global_scale", "min_max", "identity" or "principal_components"; or a
            `Normalizer`.
        **options: Arguments of that normalizer's class.

    Returns:
        The normalizer, not fitted unless `options` hold its statistics.

    Raises:
        ValueError: If the name is unknown, or options come with a normalizer that is already made.
        TypeError: If the normalizer does not know an option.

    Example:
        >>> from gruvlike import normalizers
        >>> normalizers.get("min_max", low=[0.0], high=[4.0])([[3.0]])
        array([[0.5]], dtype=float32)
    """
    return by_name("normalizer", normalizer, Normalizer, _NAMES, options)
