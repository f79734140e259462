"""Which transformers give sparse matrices. The graph has none; XGBoost's answers depend on it."""

from typing import Any

from mlops_kit.exporters.sklearn.blocks import Frame, is_sparse

ALWAYS = ("CountVectorizer", "TfidfTransformer", "TfidfVectorizer")
AS_GIVEN = (
    "Binarizer",
    "GenericUnivariateSelect",
    "MaxAbsScaler",
    "Normalizer",
    "PolynomialFeatures",
    "RFE",
    "RFECV",
    "RobustScaler",
    "SelectFdr",
    "SelectFpr",
    "SelectFromModel",
    "SelectFwe",
    "SelectKBest",
    "SelectPercentile",
    "SequentialFeatureSelector",
    "SimpleImputer",
    "StandardScaler",
    "VarianceThreshold",
)


def gives_sparse(model: Any, columns: Frame, made: Frame) -> bool:
    """Whether scikit-learn's own result, `made` from `columns`, is a sparse matrix."""
    name = type(model).__name__
    if name == "ColumnTransformer":
        return bool(model.sparse_output_)
    if name in ("OneHotEncoder", "RandomTreesEmbedding"):
        return bool(model.sparse_output)
    if name == "KBinsDiscretizer":
        return bool(model.encode == "onehot")
    if name in ALWAYS:
        return True
    if name in AS_GIVEN:
        return is_sparse(columns)
    return is_sparse(made)
