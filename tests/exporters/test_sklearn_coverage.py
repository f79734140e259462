"""Every estimator that scikit-learn has, as it comes, is exported or named in the README as one that is not."""

import re
import warnings
from contextlib import nullcontext
from pathlib import Path

import pytest
from sklearn import base
from sklearn.utils import all_estimators

import mlops_kit
from mlops_kit.errors import ConversionError, SampleError
from tests.exporters import sklearn_zoo as zoo

README = (Path(__file__).parents[2] / "README.md").read_text()
BULLETS = README.partition("Refused, with the reason")[2].split("\n- ")[1:3]
REFUSED = set(re.findall(r"\w+", " ".join(BULLETS)))
OTHERWISE = {
    "GenericUnivariateSelect",
    "MissingIndicator",
    "SelectFdr",
    "SelectFpr",
    "SelectFwe",
    "SelectPercentile",
}
"""With their defaults they keep no column of these numbers."""
ESTIMATORS = dict(all_estimators())


def fitted(name: str) -> object:
    """The estimator with its defaults, fitted on numbers; skipped as a model where it cannot be had like that."""
    model = ESTIMATORS[name]()
    target = zoo.IS_HIGH if base.is_classifier(model) else zoo.SCORE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(zoo.MATRIX, target)


def _needs_more(name: str) -> bool:
    """Whether it wants arguments or rows of another kind: those are in the zoo, one by one."""
    try:
        fitted(name)
    except (TypeError, ValueError, AttributeError, NotImplementedError):
        return True
    return False


@pytest.mark.parametrize("name", sorted(n for n in ESTIMATORS if n not in OTHERWISE and not _needs_more(n)))
def test_an_estimator_is_exported_or_named_in_the_readme(name: str, tmp_path: Path) -> None:
    model = fitted(name)
    cannot_answer = not {"predict", "transform"} & set(dir(model))
    expected = pytest.raises((ConversionError, SampleError)) if name in REFUSED or cannot_answer else nullcontext()
    with expected:
        mlops_kit.export(model, sample=zoo.MATRIX, out=tmp_path / "bundle")
