"""The command line: commands, output, exit codes. It knows no token and no cluster: both come in through `Services`."""
