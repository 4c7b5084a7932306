"""Holds the arguments of the maths and the losses against their annotations: `PYTHONPATH=tests pytest -p typecheck`.

Shapes and dtypes too, as jaxtyping reads them.
"""

from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float
install_import_hook(["jaxloss._math", "jaxloss._losses"], "typecheck.checked")
