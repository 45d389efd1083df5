"""Is a model in production as healthy as it was when it was accepted? Windows, monitors, incidents.

A worker looks at one endpoint version a window of event time at a time (`observe`): traffic, errors and latency
(`latency`), inputs that are not whole (`quality`), inputs and scores that moved (`drift`), and, once labels are known,
mistakes (`performance`, `metrics`). Every quantity is bounded and watched by the same kind of sequential test
(`sequential`), whose false alarms have a rate in event time. An alarm opens an incident, or joins the open one of its
cause. What to do about it is for control to decide.

Control's side, which loads no numpy: `records`, `watch.step`, `windows`, `monitors`, `incidents`, `events`. The other
files are worker-side; `reference.complete` gives a new version's profile what monitoring will compare with.
"""
