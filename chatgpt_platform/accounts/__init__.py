"""Who has an account here, what it may spend, and what a call costs.

``tokens`` knows the text of a virtual key, ``keystore`` keeps what is known of each key in ``state.directory``;
the ``keys`` command writes there, the running gateway reads.
"""
