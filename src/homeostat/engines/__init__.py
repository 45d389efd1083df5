"""Where calls run: implementations of the plug point `pipelines.engine`.

`local.Local` runs calls on threads of the caller's process: tests, notebooks, debugging. `processes.Processes` runs
each call in a process of its own, forked from a preloaded server (`forkserver`), so that a step starts in tens of
milliseconds with polars and scikit-learn already imported, leaks nothing into the next one, and may be killed.
Both pass `homeostat.testing.engines.EngineConformance`; so must any engine of yours.
"""
