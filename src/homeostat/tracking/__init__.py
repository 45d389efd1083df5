"""What was tried: experiments hold runs, runs hold params, metrics with steps, tags and artifacts (MLflow's meanings).

Public surface, one file a noun: `experiments` (ensure, get, listing), `runs` (start, finish, get, listing), `metrics`
(log, history), `params` (log), `tags` (set), `artifacts` (record, listing). Records are in `records`, events in
`events`. All of it is control-side: functions take a `Reader` or a `Transaction`, and what a transaction has
acknowledged is durable. A run is one struct from its row to JSON; `Run.metrics` is the latest point of each key, kept
in a cache table that every `metrics.log` updates, so that a page of runs never reads the history.
"""
