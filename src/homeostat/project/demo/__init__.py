"""What `homeostat demo` runs on: a world of card transactions with fraud whose pattern changes, and its project file.

The world is generated from a seed and knows nothing of the platform: it writes daily files, makes the requests a
payment terminal would send, and tells the labels days later. Nothing in it is arranged for the loop to succeed.
Public surface:

- `transactions`: `generate` the days; `as_filed`, `as_requested` and `labels_of` are the three views of a day (what the
  export writes, what a live request carries, what is known later); `write_day` and `write_days` write the files, one of
  them damaged;
- `fraud_project.py`: the user's project file, as `homeostat init` and `homeostat demo` lay it down.

Client- and worker-side: it imports polars and numpy, so the control process never imports its modules.
"""
