"""Holds the maths and the kernels below the losses to their annotations: `PYTHONPATH=tests pytest -p typecheck`.

Public losses are left out: their annotations describe classes on the last axis, and inputs before they are cast.
"""

import inspect
import pkgutil
from importlib import import_module

from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook, jaxtyped

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float
install_import_hook("jaxloss._math", "typecheck.checked")

losses = import_module("jaxloss._losses")
for found in pkgutil.iter_modules(losses.__path__, "jaxloss._losses."):
    module = import_module(found.name)
    for name, function in inspect.getmembers(module, inspect.isfunction):
        if name.startswith("_") and function.__module__ == module.__name__:
            setattr(module, name, jaxtyped(function, typechecker=checked))
