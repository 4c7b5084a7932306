"""How far losses are from the truth: jaxloss beside optax, torch and Keras, against arithmetic with 100 digits."""
