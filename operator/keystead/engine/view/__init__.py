"""Views: what status shows of a record. Pure, rebuilt at every pass, believed by nobody."""
