"""features.py becomes a definition. This is the only place where it is executed; a bundle has it as data."""

import contextlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Final

from mlops_kit.errors import MlkitError, UsageError, suggestion
from mlops_kit.features.definition.compilation import feature_set
from mlops_kit.features.definition.feature_set import FeatureSet

VARIABLE: Final = "features"
_MODULE: Final = "mlkit_features_definition"


def load_definition(path: str | Path) -> FeatureSet:
    """Run a Python file and compile its list `features`.

    The file may do anything that Python can, with the caller's rights; files beside it can be imported. Relative
    paths in it are relative to the current directory. What it prints goes to stderr. Raises UsageError for a file
    that fails, with the line, and for one without the list.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"{path}: no such file", fix="give a Python file with a list called features")
    module = _run(path)
    if not hasattr(module, VARIABLE):
        names = [name for name in vars(module) if not name.startswith("_")]
        fix = suggestion([VARIABLE], names) or "write features = [departures.window(…).agg(…), …]"
        raise UsageError(f"{path} has no variable {VARIABLE!r}", "its features are a list of this name", fix)
    try:
        return feature_set(getattr(module, VARIABLE))
    except UsageError as error:
        raise UsageError(f"{path}: {error.what}", error.why, error.fix) from error


def _run(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(_MODULE, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is no Python file", fix="give one whose name ends in .py")
    module = importlib.util.module_from_spec(spec)
    folder = str(path.absolute().parent)
    sys.modules[_MODULE] = module
    sys.path.insert(0, folder)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            spec.loader.exec_module(module)
    except MlkitError as error:
        raise UsageError(f"{path}{_line(error, path)}: {error.what}", error.why, error.fix) from error
    except (Exception, SystemExit) as error:
        why = f"{type(error).__name__}: {error}".split("\n", 1)[0]
        raise UsageError(f"{path}{_line(error, path)}: it failed", why, f"run it alone: python {path}") from error
    finally:
        sys.path.remove(folder)
        del sys.modules[_MODULE]
    return module


def _line(error: BaseException, path: Path) -> str:
    """Where in the file it came from; a syntax error has no call in it."""
    if isinstance(error, SyntaxError) and error.lineno is not None:
        return f", line {error.lineno}"
    calls = traceback.extract_tb(error.__traceback__)
    lines = [
        call.lineno for call in calls if Path(call.filename) == path.absolute() or Path(call.filename) == path
    ]
    return f", line {lines[-1]}" if lines else ""
