"""A page about runs: their curves, text with the discriminator's doubt, settings and results."""
