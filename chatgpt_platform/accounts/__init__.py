"""Who used what: virtual keys, what their holders may use, and what they have used.

Money is whole numbers of picodollars (10^-12 dollars), so that nothing is ever rounded.
"""
