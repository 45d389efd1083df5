"""Models, their versions, and the names that point at them.

A model is a line of versions, numbered from 1 without gaps. What a version is made of never changes; its description,
tags and aliases may. Nothing here reads a package: the digest is all the registry knows of it. Public surface:

- `records`: Model, ModelVersion;
- `models`: make, find and describe models;
- `versions`: register a version, once for each request however often it is sent; find and describe versions;
- `aliases`: "champion" and the like, each pointing at one version of a model.
"""
