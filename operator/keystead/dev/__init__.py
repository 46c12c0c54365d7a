"""`keystead dev`: what is different without a cluster: access keys, seeds, reset. Store, plan, engine and server are the same."""
