"""A cohort in two dimensions, as one self-contained HTML file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from jinja2 import Environment, PackageLoader, StrictUndefined
from sklearn.decomposition import PCA

from ehrdb.errors import ConfigError

# Okabe and Ito's colours: told apart by colour-blind readers too.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999")
SIZE, MARGIN = 1000, 30
Method = Literal["pca", "umap"]


@dataclass(frozen=True)
class Point:
    """A patient, and the group that colours it."""

    patient_id: int
    group: str


def draw(points: list[Point], vectors: npt.NDArray[np.float32], method: Method, encoder: str, colour_by: str) -> str:
    """The page: one dot a patient, in the order of `points`, its id on hover."""
    places, caption = _project(vectors, method)
    groups = [group for group, _ in Counter(point.group for point in points).most_common()]
    colours = {group: COLOURS[min(number, len(COLOURS) - 1)] for number, group in enumerate(groups)}
    dots = [
        {"x": round(float(x), 1), "y": round(float(y), 1), "colour": colours[point.group], "point": point}
        for point, (x, y) in zip(points, places, strict=True)
    ]
    legend = [
        {"group": group, "colour": colours[group], "patients": sum(point.group == group for point in points)}
        for group in groups
    ]
    page = Environment(loader=PackageLoader("ehrdb.search", "."), autoescape=True, undefined=StrictUndefined)
    return page.get_template("map.html.j2").render(
        dots=dots,
        legend=legend,
        size=SIZE,
        radius=max(2, round(120 / len(points) ** 0.5)),
        caption=caption,
        encoder=encoder,
        colour_by=colour_by,
    )


def _project(vectors: npt.NDArray[np.float32], method: Method) -> tuple[npt.NDArray[Any], str]:
    """Places on the page, and what the picture keeps of the vectors."""
    if method == "umap":
        places, caption = _umap(vectors), "UMAP, cosine distance: neighbourhoods are kept, distances are not."
    else:
        model = PCA(n_components=2, random_state=0)
        places = model.fit_transform(vectors)
        kept = 100 * model.explained_variance_ratio_.sum()
        caption = f"Principal components: the two directions shown hold {kept:.0f} % of the variance."
    low, high = places.min(axis=0), places.max(axis=0)
    return MARGIN + (places - low) / np.maximum(high - low, 1e-9) * (SIZE - 2 * MARGIN), caption


def _umap(vectors: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
    try:
        from umap import UMAP
    except ImportError:
        raise ConfigError(
            "--method umap needs umap-learn", hint="pip install umap-learn, or use --method pca."
        ) from None
    return np.asarray(UMAP(metric="cosine", random_state=0, n_jobs=1).fit_transform(vectors))
