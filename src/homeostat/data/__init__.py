"""Data: datasets over files, taken in as versions that passed their checks, and the labels that follow later.

A dataset is declared by its project: files, key, time, label, rules. Taking in ("ingest") reads only files that are new
by path and content, sets bad rows aside with the reason of each, and appends the good ones as the next version; ref
"main" moves to it only when every "stop" rule held. What was taken in never changes: a file that changes afterwards is
a finding, not new data. Labels arrive late, out of order and corrected; training sets use what was known at their time.

The control process uses (rows only, no polars):

- `contracts`, `sources`: rules and files as a project writes them; `records`: the structs;
- `datasets`, `versions`, `quarantine`, `lineage`: what there is, what to take in next, what came of it;
- `labels`: make labels durable, and say which wait for the label table.

Workers use (polars):

- `ingest`: take in new files; with `intake`, `reading`, `kinds`, `checks`, `content` for its parts, and `turns`
  for one writer at a time;
- `label_table`: fold labels in, and say what was known at a time;
- `training`: rows with the labels known at a time, and splits by time.
"""
