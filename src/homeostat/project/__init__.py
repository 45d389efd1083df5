"""The user's project file turned into definitions, and the Python API.

A project is one Python file of plain functions. Public surface:

- `declare`: what such a file says (`dataset`, `model`, `step`, and the words for checks, gates, rollouts, responses);
- `definitions`: `Definitions`, everything one file declares, as the control plane takes it; `Collector` gathers it;
- `load`: a file on disk to `Definitions` and a snapshot of its source;
- `connection`: the HTTP client that the command line and the Python API speak through; `locate`: finds the server of a
  home, or starts an embedded one for as long as the caller lives;
- `register`: `register`, `deploy`, `predict`, the three lines that put an existing model under the loop;
- `tracking`: `log_metric` and `log_param` inside a step;
- `training` (worker side): one training, from dataset rows to a package with an honest reference profile;
- `actions` (control side): the steps `control:ingest` and `control:register` of every model's pipeline;
- `demo/`: the world that `homeostat demo` runs on.

Importing this package loads none of them.
"""
