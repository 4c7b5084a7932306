"""What compilers make of every loss, and of its peers, for chips that need not be there."""
