"""A small head that learns from a large encoder (Hinton, Vinyals & Dean 2015, Distilling the Knowledge in a Neural Network): what the large one says of
texts that nobody has labelled is what the small one is taught."""
