"""Conformance suites of the plug points, and small real fakes: for those who write an engine or a store of their own.

Public, and imported by nothing in Homeostat. Subclass a suite in your tests and give it the fixture it names.
"""
