"""Sense, decide, act: what follows from an incident, for each endpoint, by its policy.

Public surface:

- `records`: Policy;
- `definitions`: the policy of each endpoint;
- `policies`: what a rule says of an incident, as a pure function from facts to a verdict in words;
- `facts`: gathers what a rule looks at;
- `actions`: carries a decision out, and finds out after a crash how far it got;
- `loop`: runs every organ in turn, and knows when all is settled.
"""
