"""What stands behind `kubectl kms`: reads with a person's own rights, and asks the pure evaluator about what it read."""
