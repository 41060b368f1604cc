"""Training of the classifier's heads with torch: a module for each kind of network, and what they share. See services.trainer.runs.train_head."""
