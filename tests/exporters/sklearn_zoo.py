"""scikit-learn's estimators, small data to train them on, and what they answer by mlkit's names."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn import (
    calibration,
    cluster,
    compose,
    cross_decomposition,
    decomposition,
    discriminant_analysis,
    dummy,
    ensemble,
    feature_selection,
    frozen,
    gaussian_process,
    impute,
    isotonic,
    kernel_ridge,
    linear_model,
    mixture,
    model_selection,
    multiclass,
    multioutput,
    naive_bayes,
    neighbors,
    neural_network,
    pipeline,
    preprocessing,
    random_projection,
    svm,
    tree,
)

from mlops_kit.schema import Array

ROWS = 150
RANDOM = np.random.default_rng(0)
MATRIX = np.abs(RANDOM.normal(size=(ROWS, 4))) * [1.0, 5.0, 0.3, 2.0] + 0.01
SCORE = MATRIX @ [1.0, -0.2, 3.0, 0.5] + RANDOM.normal(size=ROWS) * 0.1
LEVEL = np.array(["high", "low", "medium"])[np.digitize(SCORE, np.quantile(SCORE, [0.4, 0.75]))]
IS_HIGH = np.median(SCORE) < SCORE
TARGETS: dict[str, Array] = {
    "score": SCORE,
    "positive": np.abs(SCORE) + 0.1,
    "two scores": np.stack([SCORE, -2 * SCORE], axis=1),
    "level": LEVEL,
    "number": np.digitize(SCORE, np.quantile(SCORE, [0.4, 0.75])) * 2 - 1,
    "truth": IS_HIGH,
    "two truths": np.stack([IS_HIGH, MATRIX[:, 0] > 1], axis=1).astype(int),
}

FLIGHTS = pd.DataFrame({
    "carrier": RANDOM.choice(["AA", "UA", "DL", "Ünited"], ROWS),
    "origin": RANDOM.choice(["EWR", "JFK", None], ROWS),
    "distance": RANDOM.integers(50, 5000, ROWS),
    "month": RANDOM.integers(1, 13, ROWS),
    "temperature": np.where(RANDOM.random(ROWS) < 0.1, np.nan, RANDOM.normal(15, 8, ROWS)),
    "is_late": RANDOM.random(ROWS) < 0.3,
})  # fmt: skip
"""Text with and without missing values, integers, numbers with missing values, truth values."""

DELAY = (FLIGHTS["distance"] / 1000 + FLIGHTS["temperature"].fillna(10) / 10 + FLIGHTS["is_late"]).to_numpy()
CLASS_OF_DELAY = np.where(np.median(DELAY) < DELAY, "late", "on time")

Case = tuple[Any, str]
"""An estimator, and the name of the target that it is trained on."""

ridge, logistic = linear_model.Ridge, linear_model.LogisticRegression
stump, leaf = tree.DecisionTreeRegressor, tree.DecisionTreeClassifier

REGRESSORS: dict[str, Case] = {
    "ARDRegression": (linear_model.ARDRegression(), "score"),
    "AdaBoostRegressor": (ensemble.AdaBoostRegressor(n_estimators=5, random_state=0), "score"),
    "AdaBoostRegressor of ridges": (
        ensemble.AdaBoostRegressor(ridge(), n_estimators=4, random_state=0),
        "score",
    ),
    "BaggingRegressor": (
        ensemble.BaggingRegressor(n_estimators=4, max_features=0.5, random_state=0),
        "score",
    ),
    "BaggingRegressor of ridges": (
        ensemble.BaggingRegressor(ridge(), n_estimators=4, random_state=0),
        "score",
    ),
    "BayesianRidge": (linear_model.BayesianRidge(), "score"),
    "DecisionTreeRegressor": (stump(random_state=0), "score"),
    "DecisionTreeRegressor of two targets": (stump(random_state=0), "two scores"),
    "DummyRegressor": (dummy.DummyRegressor(), "score"),
    "ElasticNet": (linear_model.ElasticNet(0.1), "score"),
    "ElasticNetCV": (linear_model.ElasticNetCV(cv=3), "score"),
    "ExtraTreeRegressor": (tree.ExtraTreeRegressor(random_state=0), "score"),
    "ExtraTreesRegressor": (ensemble.ExtraTreesRegressor(n_estimators=5, random_state=0), "score"),
    "GammaRegressor": (linear_model.GammaRegressor(), "positive"),
    "GaussianProcessRegressor": (gaussian_process.GaussianProcessRegressor(random_state=0), "score"),
    "GradientBoostingRegressor": (
        ensemble.GradientBoostingRegressor(n_estimators=10, random_state=0),
        "score",
    ),
    "GradientBoostingRegressor from a ridge": (
        ensemble.GradientBoostingRegressor(init=ridge(), n_estimators=5, random_state=0),
        "score",
    ),
    "GridSearchCV": (model_selection.GridSearchCV(ridge(), {"alpha": [1, 2]}, cv=2), "score"),
    "HistGradientBoostingRegressor": (ensemble.HistGradientBoostingRegressor(max_iter=10), "score"),
    "HistGradientBoostingRegressor, poisson": (
        ensemble.HistGradientBoostingRegressor(loss="poisson", max_iter=10),
        "positive",
    ),
    "HuberRegressor": (linear_model.HuberRegressor(max_iter=1000), "score"),
    "KNeighborsRegressor": (neighbors.KNeighborsRegressor(n_neighbors=3), "score"),
    "KernelRidge": (kernel_ridge.KernelRidge(kernel="rbf"), "score"),
    "Lars": (linear_model.Lars(), "score"),
    "LarsCV": (linear_model.LarsCV(cv=3), "score"),
    "Lasso": (linear_model.Lasso(0.01), "score"),
    "LassoCV": (linear_model.LassoCV(cv=3), "score"),
    "LassoLars": (linear_model.LassoLars(0.01), "score"),
    "LassoLarsCV": (linear_model.LassoLarsCV(cv=3), "score"),
    "LassoLarsIC": (linear_model.LassoLarsIC(), "score"),
    "LinearRegression": (linear_model.LinearRegression(), "score"),
    "LinearSVR": (svm.LinearSVR(random_state=0, max_iter=5000), "score"),
    "MLPRegressor": (
        neural_network.MLPRegressor(hidden_layer_sizes=(8,), max_iter=20, random_state=0),
        "score",
    ),
    "MultiOutputRegressor": (multioutput.MultiOutputRegressor(ridge()), "two scores"),
    "MultiTaskElasticNet": (linear_model.MultiTaskElasticNet(0.1), "two scores"),
    "MultiTaskElasticNetCV": (linear_model.MultiTaskElasticNetCV(cv=2), "two scores"),
    "MultiTaskLasso": (linear_model.MultiTaskLasso(0.1), "two scores"),
    "MultiTaskLassoCV": (linear_model.MultiTaskLassoCV(cv=2), "two scores"),
    "NuSVR": (svm.NuSVR(), "score"),
    "OrthogonalMatchingPursuit": (linear_model.OrthogonalMatchingPursuit(), "score"),
    "OrthogonalMatchingPursuitCV": (linear_model.OrthogonalMatchingPursuitCV(cv=2), "score"),
    "PLSRegression": (cross_decomposition.PLSRegression(2), "score"),
    "PoissonRegressor": (linear_model.PoissonRegressor(), "positive"),
    "QuantileRegressor": (linear_model.QuantileRegressor(alpha=0.01), "score"),
    "RANSACRegressor": (linear_model.RANSACRegressor(random_state=0), "score"),
    "RFE": (feature_selection.RFE(ridge(), n_features_to_select=2), "score"),
    "RFECV": (feature_selection.RFECV(ridge(), cv=2), "score"),
    "RandomForestRegressor": (ensemble.RandomForestRegressor(n_estimators=5, random_state=0), "score"),
    "RandomizedSearchCV": (
        model_selection.RandomizedSearchCV(ridge(), {"alpha": [1, 2]}, n_iter=1, cv=2),
        "score",
    ),
    "RegressorChain": (multioutput.RegressorChain(ridge(), order=[1, 0]), "two scores"),
    "Ridge": (ridge(), "score"),
    "RidgeCV": (linear_model.RidgeCV(), "score"),
    "SGDRegressor": (
        pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.SGDRegressor()),
        "score",
    ),
    "SVR": (svm.SVR(C=1000), "score"),
    "SVR, polynomial": (svm.SVR(kernel="poly"), "score"),
    "StackingRegressor": (
        ensemble.StackingRegressor([("a", ridge()), ("b", stump(max_depth=3))], cv=2),
        "score",
    ),
    "TheilSenRegressor": (linear_model.TheilSenRegressor(random_state=0), "score"),
    "TransformedTargetRegressor": (
        compose.TransformedTargetRegressor(ridge(), func=np.log1p, inverse_func=np.expm1),
        "positive",
    ),
    "TransformedTargetRegressor, scaled": (
        compose.TransformedTargetRegressor(ridge(), transformer=preprocessing.PowerTransformer()),
        "score",
    ),
    "TweedieRegressor": (linear_model.TweedieRegressor(power=1.5), "positive"),
    "VotingRegressor": (ensemble.VotingRegressor([("a", ridge()), ("b", stump())], weights=[2, 1]), "score"),
}

CLASSIFIERS: dict[str, Case] = {
    "AdaBoostClassifier": (ensemble.AdaBoostClassifier(n_estimators=5, random_state=0), "level"),
    "AdaBoostClassifier of logistic regressions": (ensemble.AdaBoostClassifier(logistic(), n_estimators=3), "truth"),
    "BaggingClassifier": (ensemble.BaggingClassifier(n_estimators=5, random_state=0), "level"),
    "BaggingClassifier of logistic regressions": (ensemble.BaggingClassifier(logistic(), n_estimators=3), "level"),
    "BernoulliNB": (naive_bayes.BernoulliNB(binarize=1.0), "level"),
    "CalibratedClassifierCV": (calibration.CalibratedClassifierCV(svm.LinearSVC(), cv=2), "level"),
    "CalibratedClassifierCV, isotonic": (
        calibration.CalibratedClassifierCV(ensemble.RandomForestClassifier(n_estimators=5), method="isotonic", cv=2),
        "truth",
    ),
    "ClassifierChain": (multioutput.ClassifierChain(logistic()), "two truths"),
    "ComplementNB": (naive_bayes.ComplementNB(), "level"),
    "DecisionTreeClassifier": (leaf(max_depth=4, random_state=0), "number"),
    "DummyClassifier": (dummy.DummyClassifier(), "level"),
    "ExtraTreeClassifier": (tree.ExtraTreeClassifier(max_depth=4, random_state=0), "level"),
    "ExtraTreesClassifier": (ensemble.ExtraTreesClassifier(n_estimators=5, max_depth=4, random_state=0), "truth"),
    "FixedThresholdClassifier": (model_selection.FixedThresholdClassifier(logistic(), threshold=0.3), "truth"),
    "FrozenEstimator": (frozen.FrozenEstimator(logistic().fit(MATRIX, LEVEL)), "level"),
    "GaussianNB": (naive_bayes.GaussianNB(), "level"),
    "GradientBoostingClassifier": (ensemble.GradientBoostingClassifier(n_estimators=5, random_state=0), "level"),
    "GradientBoostingClassifier, exponential": (
        ensemble.GradientBoostingClassifier(loss="exponential", n_estimators=5, random_state=0),
        "truth",
    ),
    "HistGradientBoostingClassifier": (ensemble.HistGradientBoostingClassifier(max_iter=5), "level"),
    "KNeighborsClassifier": (neighbors.KNeighborsClassifier(n_neighbors=3), "level"),
    "LinearDiscriminantAnalysis": (discriminant_analysis.LinearDiscriminantAnalysis(), "level"),
    "LinearSVC": (svm.LinearSVC(), "level"),
    "LogisticRegression": (logistic(), "level"),
    "LogisticRegression of two classes": (logistic(), "truth"),
    "MLPClassifier": (neural_network.MLPClassifier(hidden_layer_sizes=(8,), max_iter=20, random_state=0), "level"),
    "MultiOutputClassifier": (multioutput.MultiOutputClassifier(logistic()), "two truths"),
    "MultinomialNB": (naive_bayes.MultinomialNB(), "level"),
    "NuSVC": (svm.NuSVC(nu=0.3), "level"),
    "OneVsOneClassifier": (multiclass.OneVsOneClassifier(logistic()), "level"),
    "OneVsRestClassifier": (multiclass.OneVsRestClassifier(logistic()), "level"),
    "OneVsRestClassifier of two targets": (multiclass.OneVsRestClassifier(logistic()), "two truths"),
    "OutputCodeClassifier": (multiclass.OutputCodeClassifier(logistic(), random_state=0), "level"),
    "Perceptron": (linear_model.Perceptron(), "level"),
    "QuadraticDiscriminantAnalysis": (discriminant_analysis.QuadraticDiscriminantAnalysis(reg_param=0.1), "level"),
    "RandomForestClassifier": (ensemble.RandomForestClassifier(n_estimators=5, random_state=0), "level"),
    "RandomForestClassifier of two targets": (ensemble.RandomForestClassifier(n_estimators=5, random_state=0), "two truths"),
    "RidgeClassifier": (linear_model.RidgeClassifier(), "level"),
    "RidgeClassifierCV": (linear_model.RidgeClassifierCV(), "level"),
    "SGDClassifier": (linear_model.SGDClassifier(random_state=0), "level"),
    "SGDClassifier, modified huber": (linear_model.SGDClassifier(loss="modified_huber", random_state=0), "level"),
    "SVC": (svm.SVC(), "level"),
    "SVC, linear, two classes": (svm.SVC(kernel="linear"), "truth"),
    "SelfTrainingClassifier": (logistic(), "level"),
    "StackingClassifier": (ensemble.StackingClassifier([("a", svm.LinearSVC()), ("b", leaf(max_depth=3))], cv=2), "level"),
    "TunedThresholdClassifierCV": (model_selection.TunedThresholdClassifierCV(logistic(), cv=2), "truth"),
    "VotingClassifier": (ensemble.VotingClassifier([("a", logistic()), ("b", leaf(max_depth=3))]), "level"),
    "VotingClassifier, soft": (
        ensemble.VotingClassifier([("a", logistic()), ("b", leaf(max_depth=3))], voting="soft"),
        "level",
    ),
}  # fmt: skip

DETECTORS: dict[str, Any] = {
    "BayesianGaussianMixture": mixture.BayesianGaussianMixture(n_components=2, random_state=0),
    "GaussianMixture": mixture.GaussianMixture(n_components=2, random_state=0),
    "IsolationForest": ensemble.IsolationForest(n_estimators=10, contamination=0.1, random_state=0),
    "KMeans": cluster.KMeans(3, random_state=0),
    "LocalOutlierFactor": neighbors.LocalOutlierFactor(novelty=True),
    "MiniBatchKMeans": cluster.MiniBatchKMeans(3, random_state=0),
    "OneClassSVM": svm.OneClassSVM(),
    "SGDOneClassSVM": linear_model.SGDOneClassSVM(random_state=0),
}

TRANSFORMERS: dict[str, Case] = {
    "Binarizer": (preprocessing.Binarizer(threshold=1.0), "score"),
    "ColumnTransformer": (compose.ColumnTransformer([("a", "passthrough", [2, 0]), ("b", preprocessing.StandardScaler(), [1])]), "score"),
    "FeatureUnion": (
        pipeline.FeatureUnion(
            [("a", preprocessing.StandardScaler()), ("b", decomposition.PCA(n_components=2))], transformer_weights={"b": 2.0}
        ),
        "score",
    ),
    "FunctionTransformer": (preprocessing.FunctionTransformer(), "score"),
    "FunctionTransformer, log1p": (preprocessing.FunctionTransformer(np.log1p), "score"),
    "GaussianRandomProjection": (random_projection.GaussianRandomProjection(n_components=2, random_state=0), "score"),
    "GenericUnivariateSelect": (feature_selection.GenericUnivariateSelect(mode="k_best", param=2), "level"),
    "IncrementalPCA": (decomposition.IncrementalPCA(n_components=2), "score"),
    "KBinsDiscretizer": (preprocessing.KBinsDiscretizer(quantile_method="averaged_inverted_cdf"), "score"),
    "KBinsDiscretizer, ordinal": (preprocessing.KBinsDiscretizer(encode="ordinal", strategy="uniform"), "score"),
    "KNNImputer": (impute.KNNImputer(), "score"),
    "KNeighborsTransformer": (neighbors.KNeighborsTransformer(n_neighbors=3), "score"),
    "KernelPCA": (decomposition.KernelPCA(n_components=2, kernel="rbf"), "score"),
    "MaxAbsScaler": (preprocessing.MaxAbsScaler(), "score"),
    "MinMaxScaler": (preprocessing.MinMaxScaler(clip=True), "score"),
    "NeighborhoodComponentsAnalysis": (neighbors.NeighborhoodComponentsAnalysis(n_components=2, random_state=0), "level"),
    "Normalizer": (preprocessing.Normalizer(), "score"),
    "Normalizer, max": (preprocessing.Normalizer(norm="max"), "score"),
    "PCA": (decomposition.PCA(n_components=2, whiten=True), "score"),
    "PolynomialFeatures": (preprocessing.PolynomialFeatures(3), "score"),
    "PowerTransformer": (preprocessing.PowerTransformer(), "score"),
    "PowerTransformer, box-cox": (preprocessing.PowerTransformer(method="box-cox"), "score"),
    "QuantileTransformer": (preprocessing.QuantileTransformer(n_quantiles=40), "score"),
    "QuantileTransformer, normal": (
        preprocessing.QuantileTransformer(n_quantiles=40, output_distribution="normal"),
        "score",
    ),
    "RandomTreesEmbedding": (ensemble.RandomTreesEmbedding(n_estimators=3, random_state=0), "score"),
    "RobustScaler": (preprocessing.RobustScaler(), "score"),
    "SelectFdr": (feature_selection.SelectFdr(alpha=0.9), "level"),
    "SelectFpr": (feature_selection.SelectFpr(alpha=0.9), "level"),
    "SelectFromModel": (feature_selection.SelectFromModel(ridge()), "score"),
    "SelectFwe": (feature_selection.SelectFwe(alpha=0.9), "level"),
    "SelectKBest": (feature_selection.SelectKBest(k=2), "level"),
    "SelectPercentile": (feature_selection.SelectPercentile(percentile=50), "level"),
    "SequentialFeatureSelector": (feature_selection.SequentialFeatureSelector(ridge(), cv=2), "score"),
    "SimpleImputer": (impute.SimpleImputer(strategy="median"), "score"),
    "StandardScaler": (preprocessing.StandardScaler(), "score"),
    "TruncatedSVD": (decomposition.TruncatedSVD(n_components=2), "score"),
    "VarianceThreshold": (feature_selection.VarianceThreshold(0.1), "score"),
}  # fmt: skip

COLUMN: dict[str, Case] = {"IsotonicRegression": (isotonic.IsotonicRegression(out_of_bounds="clip"), "score")}
"""Estimators of a single column."""

ENCODERS: dict[str, Any] = {
    "OneHotEncoder": preprocessing.OneHotEncoder(handle_unknown="ignore"),
    "OneHotEncoder, infrequent": preprocessing.OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=40),
    "OneHotEncoder, first dropped": preprocessing.OneHotEncoder(drop="first", handle_unknown="ignore"),
    "OneHotEncoder, one dropped of two": preprocessing.OneHotEncoder(drop="if_binary"),
    "OrdinalEncoder": preprocessing.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    "OrdinalEncoder, missing as -2": preprocessing.OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2
    ),
    "OrdinalEncoder, infrequent": preprocessing.OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=-1, max_categories=3
    ),
    "SimpleImputer, constant": pipeline.make_pipeline(
        impute.SimpleImputer(strategy="constant", fill_value="?"), preprocessing.OneHotEncoder(handle_unknown="ignore")
    ),
    "SimpleImputer, most frequent": pipeline.make_pipeline(
        impute.SimpleImputer(strategy="most_frequent"), preprocessing.OneHotEncoder(handle_unknown="ignore")
    ),
    "TargetEncoder": preprocessing.TargetEncoder(),
}  # fmt: skip
"""Transformers of text columns with missing values."""

NOT_NEGATIVE = {"ComplementNB", "MultinomialNB"}
NO_MISSING_COLUMNS = {"box-cox"}
SAME_IN_A_PIPELINE = {"FrozenEstimator"}


def prepare_flights() -> compose.ColumnTransformer:
    """Numbers imputed, text and months one-hot, truth values as they are; all of it between 0 and 1."""
    return compose.ColumnTransformer(
        [
            ("numbers", pipeline.make_pipeline(impute.SimpleImputer(), preprocessing.MinMaxScaler()), ["distance", "temperature"]),
            ("texts", preprocessing.OneHotEncoder(handle_unknown="ignore"), ["carrier", "origin"]),
            ("months", preprocessing.OneHotEncoder(handle_unknown="ignore"), ["month"]),
        ],
        remainder="passthrough",
        sparse_threshold=0,
    )  # fmt: skip


def flight_target(name: str) -> Array:
    """A target of the flights, of the same kind as the target of that name."""
    is_late = CLASS_OF_DELAY == "late"
    targets = {
        "score": DELAY,
        "positive": np.abs(DELAY) + 0.1,
        "two scores": np.stack([DELAY, -2 * DELAY], axis=1),
        "level": np.array(["a", "b", "c"])[np.digitize(DELAY, np.quantile(DELAY, [0.4, 0.75]))],
        "number": np.digitize(DELAY, np.quantile(DELAY, [0.4, 0.75])) * 2 - 1,
        "truth": is_late,
        "two truths": np.stack([is_late, FLIGHTS["month"] > 6], axis=1).astype(int),
    }
    return np.asarray(targets[name])
