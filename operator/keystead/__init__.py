"""Keystead: a self-hosted key management service for Kubernetes, in the words of AWS KMS."""

__version__ = "0.1.0"
