"""`keystead server`, wired: main.py is the command, worker.py one process that serves."""
