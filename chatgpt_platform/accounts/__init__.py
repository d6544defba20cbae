"""Who used what: virtual keys, what their holders may use, and what they have used.

    Account      one key's holder: limits, allowances, the calls under way                account
    Meter        how an account's calls of one model went lately, to tell the next one's  meter
    Credential   a key's text stands for an account, for so long                          ring
    KeyRing      all credentials, of the configuration and of the key store               ring
    KeyStore     the keys that the command ``keys`` makes                                 keystore, tokens
    Prices       what a model's tokens cost                                               prices, money
    Inquiry      what a report may be asked for, and how figures and keys are told        inquiry, reporting, told
    Accounts     all of it together, and the ledger where there is one                    accounts

    gateway/accounting -> Accounts -> KeyRing -> Account -> limits.allowance
                                 \\-> ledger (rows, running state), webhook (warnings)

Money is whole numbers of picodollars (10^-12 dollars), so that nothing is ever rounded.
"""
