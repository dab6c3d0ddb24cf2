"""From a trained network to the bundle that ships: conversion, the gates that prove it, golden vectors, packing.

Nothing here is needed on the phone. A file that misses a gate is not written: an export ends in a comparison that
raises, never in one that prints.
"""
