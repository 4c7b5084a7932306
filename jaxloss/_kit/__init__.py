"""How a loss is called: its arguments, its inputs and its reduction. There is no maths here."""
