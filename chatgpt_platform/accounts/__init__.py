"""Who may use how much, and has: virtual keys, their allowances, prices, and the warnings that are sent."""
