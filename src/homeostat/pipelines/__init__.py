"""Graphs of steps, run durably: what a project's functions are to each other, and what became of each run of them.

Public surface: `definitions` (define, get, listing), `graph` (plain functions to steps), `runner.Runner` (start,
advance, resume, cancel, wait), `runs` (get, listing, steps), `cache` (what an output is remembered by), `schedules`
(due), `engine` (the plug point: where calls run) and `steps` (worker-side: what runs one step there). The state of a
run is rows: whatever is killed, the next `advance` goes on from them. Steps are at-least-once and their outputs are
objects by digest, so a step done twice comes out the same. `ingestion` takes a dataset's new files in, for a step or a
gate.
"""
