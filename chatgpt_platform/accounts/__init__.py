"""Who may use how much, and has: virtual keys, their allowances, prices, and the warnings that are sent.

``tokens`` knows the text of a virtual key, ``keystore`` keeps what is known of each key in ``state.directory``;
the ``keys`` command writes there, the running gateway reads.
"""
