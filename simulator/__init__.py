"""A stand-in for people, attacks, light and camera, so that training, tests and the demo need no real faces.

No screen-flash data set is public. Faces here are procedural: nothing in this package comes from a photograph or scan.
"""
