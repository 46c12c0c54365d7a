"""A package, so that the operator and the server of scope `package` end with this suite: other suites have their own."""
