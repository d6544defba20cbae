"""Who has an account here, what it may spend, and what a call costs.

``prices`` knows what a model's tokens cost: the owner's rules, laid over the public prices in ``prices.yaml``.
"""
