"""Who may do what, what was decided, on what evidence, and who agreed.

Everything else in the package asks here before it acts and writes here what it decided; the audit stream itself is
`foundation.events`. Rights are a pure function of records: nothing is allowed unless a role says so, and a token can
only narrow what its principal may do. Principals, tokens and sessions belong to the home, not to one project; what
they may touch is limited by their own lists of projects. Decisions, approvals and leases belong to a project.

Public surface:

- `records`: Principal, Token, Decision, Approval, Lease;
- `access`: permissions, roles, and `permitted`, which decides;
- `principals`: make, change, find and disable those who act;
- `tokens`: issue, resolve, narrow and revoke API tokens, and the grants of the inference plan;
- `sign_in`: the one-time link for a browser and the session it opens;
- `decisions`: the ledger that delivery and control both write;
- `approvals`: questions that wait for a person;
- `leases`: the right to act alone, with a fencing number.
"""
