"""What a loss of one's own is written with: it is then checked, masked, weighted and reduced as all others are.

`docs/writing_a_loss.md` shows how.
"""

from ._kit import AT_LEAST_ONE as AT_LEAST_ONE
from ._kit import LOG_PROBABILITIES as LOG_PROBABILITIES
from ._kit import NON_NEGATIVE as NON_NEGATIVE
from ._kit import POSITIVE as POSITIVE
from ._kit import PROBABILITY as PROBABILITY
from ._kit import SIGN as SIGN
from ._kit import Castable as Castable
from ._kit import Domain as Domain
from ._kit import Ids as Ids
from ._kit import Label as Label
from ._kit import Mask as Mask
from ._kit import PartialMean as PartialMean
from ._kit import Reduction as Reduction
from ._kit import Static as Static
from ._kit import Weights as Weights
from ._kit import class_inputs as class_inputs
from ._kit import elementwise_inputs as elementwise_inputs
from ._kit import labelled_inputs as labelled_inputs
from ._kit import loss_function as loss_function
from ._kit import partial_mean as partial_mean
from ._kit import per_class as per_class
from ._kit import reduce as reduce
from ._kit import rowwise_inputs as rowwise_inputs
from ._kit import shielded as shielded
from ._math.dtypes import Scalar as Scalar
from ._math.labels import label_mask as label_mask
from ._math.passes import at_labels as at_labels
