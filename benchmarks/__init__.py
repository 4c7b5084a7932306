"""jaxloss beside other libraries: what is compared, how it is measured, and the page about it."""
