"""Decides: fuses rules, the LLM's verdict and the neural head into one verdict for each task, with its reasons; corrections act at once."""
