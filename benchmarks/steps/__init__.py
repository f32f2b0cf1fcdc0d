"""How many steps of training pay, by the number of rows."""
