"""What every other folder stands on, and which knows none of them.

Identity (`ids`), time (`clock`), failure (`errors`), configuration (`settings`), and the four places state lives:
rows (`database`), the sealed audit stream (`events`), bytes by digest (`objects`) and versioned tables (`tables`).
Import the module you need; this package imports nothing by itself, so that the inference process can take `ids`,
`clock`, `errors` and `settings` without loading a database driver.
"""
