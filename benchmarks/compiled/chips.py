"""The chips that programs are compiled for, from descriptions of them: neither has to be there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import topologies

from .traffic import Traffic


class Chip(NamedTuple):
    """A chip, and the least time it needs.

    Attributes:
        name: What tables call it.
        sharding: A sharding on one of them, for the types of arguments.
        bandwidth: Bytes per second to and from its memory.
        flops: Of matrix products of bfloat16 operands, per second; of float32 operands it has half as many.
    """

    name: str
    sharding: Callable[[], jax.sharding.Sharding]
    bandwidth: float
    flops: float

    def seconds(self, traffic: Traffic) -> float:
        """The roofline: the time for the memory or for the products, whichever is larger."""
        wide = sum(count for product, count in traffic.products.items() if "f32 x" in product or "x f32" in product)
        share = wide / max(sum(traffic.products.values()), 1)
        return max(traffic.moved / self.bandwidth, traffic.flops * (1 + share) / self.flops)


def _h100() -> jax.sharding.Sharding:
    jax.devices()  # loads the plugin
    description = (Path(__file__).parent / "h100.txtpb").read_text()
    options: dict[str, Any] = {"topology_name": "1x1x1", "topology": "1x1x1", "target_config": description}
    (device,) = topologies.get_topology_desc(platform="cuda", **options).devices
    mesh = jax.sharding.Mesh(np.array([device]), ("device",))
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())


def _v5e() -> jax.sharding.Sharding:
    # The smallest there is a description of; programs are compiled for one of its chips.
    device = topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x2").devices[0]
    return jax.sharding.SingleDeviceSharding(device)


CHIPS = {chip.name: chip for chip in (Chip("H100", _h100, 3.35e12, 800e12), Chip("TPU v5e", _v5e, 0.82e12, 197e12))}
