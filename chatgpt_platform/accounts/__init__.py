"""Who has an account here, what it may spend, and what a call costs.

``tokens`` knows the text of a virtual key, ``keystore`` keeps what is known of each key in ``state.directory``;
the ``keys`` command writes there, the running gateway reads. ``inquiry`` knows what a report may be asked for,
``reporting`` and ``told`` how figures and keys are told, with the members that ``shapes`` names.

Money is whole numbers of picodollars (10^-12 dollars), so that nothing is ever rounded; ``money`` writes it out.
"""
