"""The control side of inference: which versions answer under which name, and what was answered.

Public surface:

- `records`: Endpoint, EndpointArm, Taken;
- `endpoints`: create an endpoint, put arms under it, pause it;
- `plans`: turn every endpoint and token into the plan that the inference process follows;
- `supervisor`: keep the inference process alive, or adopt the one that outlived an earlier control plane;
- `plane`: both together: what the database says is what answers, and `apply` returns once that is true;
- `intake`: take the prediction log in, exactly once (`intake_table` is its worker half).
"""
