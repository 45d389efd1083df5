"""A model package: the files of one model version and the manifest that explains them.

Made once, where the estimator lives (a training worker, or a person's own process); read by the inference process,
by gates and by monitors. Public surface:

- `records`: Manifest, Signature, ReferenceProfile and their parts;
- `package`: write and read a package in the object store;
- `convert`: an estimator to ONNX with parity shown, or to skops with the cause said;
- `profile`: the reference profile of a training set;
- `loader`: the one choke point that turns a package into something that predicts. Nothing else loads a model;
- `trust`: which types a skops file may hold;
- `signature`, `columns`: what a model takes, inferred from a table and checked on every block of columns;
- `telemetry`: ONNX Runtime's own reporting, turned off here, before anything of this folder can import it.
"""

from homeostat.packages import telemetry as telemetry
