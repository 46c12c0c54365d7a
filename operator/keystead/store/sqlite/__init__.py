"""The store of `keystead dev`: what store/ does on the API server, on one SQLite file, with the API server's habits.

Made by app/dev through store.SqliteStore. database.py has the file, the transactions and the group commit; the others have a noun each.
Nothing here opens a record, and no plaintext, PIN or access key may enter: the file holds objects, sealed records and uids.
"""
