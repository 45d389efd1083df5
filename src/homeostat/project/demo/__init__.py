"""What `homeostat demo` runs on: a world of card transactions with fraud whose pattern changes, and its project file.

The world is generated from a seed and knows nothing of the platform: it writes daily files, makes the requests a
payment terminal would send, and tells the labels days later. Nothing in it is arranged for the loop to succeed.
Public surface:

- `transactions`: `generate` the days; `as_filed`, `as_requested` and `labels_of` are the three views of a day (what the
  export writes, what a live request carries, what is known later); `write_day` and `write_days` write the files, one of
  them damaged;
- `fraud.py`: the project file that `homeostat demo` lays down;
- `story`, `replay`, `report`: the demo itself: what is told, what is sent, and what is claimed at the end.

Client- and worker-side: it imports polars and numpy, so the control process never imports its modules.
"""
