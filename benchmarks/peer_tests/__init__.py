"""The peers' own tests of their losses, run on jaxloss."""
