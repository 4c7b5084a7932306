"""The losses, one file for each family: public functions, each with its own kernel right below it."""
