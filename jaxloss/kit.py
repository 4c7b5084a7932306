"""What a loss of one's own is written with: it is then checked, masked, weighted and reduced as all others are.

`docs/writing_a_loss.md` shows how.
"""

from ._kit.checks import AT_LEAST_ONE as AT_LEAST_ONE
from ._kit.checks import NON_NEGATIVE as NON_NEGATIVE
from ._kit.checks import POSITIVE as POSITIVE
from ._kit.checks import PROBABILITY as PROBABILITY
from ._kit.checks import SIGN as SIGN
from ._kit.checks import Domain as Domain
from ._kit.decorator import loss_function as loss_function
from ._kit.inputs import elementwise_inputs as elementwise_inputs
from ._kit.inputs import per_class as per_class
from ._kit.inputs import rowwise_inputs as rowwise_inputs
from ._kit.inputs import shielded as shielded
from ._kit.kinds import Castable as Castable
from ._kit.kinds import Ids as Ids
from ._kit.kinds import Label as Label
from ._kit.kinds import Mask as Mask
from ._kit.kinds import Reduction as Reduction
from ._kit.kinds import Static as Static
from ._kit.kinds import Weights as Weights
from ._kit.labels import class_inputs as class_inputs
from ._kit.labels import labelled_inputs as labelled_inputs
from ._kit.reduction import PartialMean as PartialMean
from ._kit.reduction import partial_mean as partial_mean
from ._kit.reduction import reduce as reduce
from ._math.dtypes import Scalar as Scalar
from ._math.passes import at_labels as at_labels
from ._math.passes import label_mask as label_mask
