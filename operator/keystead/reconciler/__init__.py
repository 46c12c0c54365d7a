"""Queue, workers and one reconcile a kind: gather -> plan -> apply. Async, through ports; knows neither Kopf nor a Kubernetes client."""
