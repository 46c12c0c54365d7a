"""`keystead dev`, wired: token, store, controller and door of one process. main.py is the command."""
