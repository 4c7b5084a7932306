"""How far losses are from their definitions: jaxloss beside optax, torch and Keras, against exact arithmetic."""
