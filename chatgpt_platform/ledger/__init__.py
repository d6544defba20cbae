"""Who used what, for good: one row for each call, in SQLite, in one file of the state directory.

The nouns: a *row* is a tuple of plain values (``rows``); a *batch* is what came since the last flush (``batch``);
*totals* are sums of rows by hour, day and eight days, and of them reports are made (``totals``).

Who calls whom: the event loop knows ``ledger.Ledger`` only, which keeps a batch and hands it to the one thread
that writes, ``writer``. That thread owns a ``store`` (the open file: ``database``, ``schema``, ``lock``), puts
batches in with ``inserting`` and between them does ``upkeep``: it rolls rows up into totals and removes the old
ones. ``reports`` reads and ``erasure`` erases, each over a connection of its own, in any process.

Nothing here knows what a call, a key or a budget is. Importing it imports ``sqlite3``, so ``serve`` does so only
where there is a state directory.
"""
