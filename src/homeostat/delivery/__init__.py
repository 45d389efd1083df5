"""What may reach production, and how it gets there and back.

A deployment is one version's way to an endpoint: a gate gives a verdict with evidence, a blessing seals a pass, a
rollout lets live traffic judge, and what turns out wrong is rolled back by reflex. Each step is a row and an event, so
a crash at any point resumes where it was.

Public surface:

- `records`: Gate, Evaluation, Deployment, RolloutDefinition and their parts;
- `definitions`: the gate and the rollout of an endpoint;
- `gates`: bless a pass, check a blessing (`evaluate` is the worker half that gives the verdict);
- `deployments`: the rows of deployments and evaluations;
- `rollouts`: what the evidence of a stage says (`evidence` is the worker half that reads it);
- `rollbacks`: put the version before back, at once;
- `asking`, `stages`: move a deployment through its gate, and through its rollout;
- `releases`: drives all of them, step by step.
"""
