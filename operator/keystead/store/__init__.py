"""The API server behind ports: the only user of the Kubernetes client.

Nothing here decides anything: it reads and writes objects, keeps read models fed by a watch, and turns HTTP answers into our errors.
"""
