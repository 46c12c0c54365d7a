"""The token: the only user of the PKCS#11 binding. Implements the ports of `engine.ports`.

One thread owns the module (python-pkcs11 initialises it without locking and releases the GIL). Never fork after
C_Initialize: slow lanes are spawned.
"""
