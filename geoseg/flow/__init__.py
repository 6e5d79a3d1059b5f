"""What the commands do, as functions: run, evaluate, compare, train, predict, vectorize, calibrate.

Here alone workflow, catalog, models and many scenes meet: a function loads a file, checks everything that
can be known before any work, works through the scenes, and returns values; it prints nothing. Errors of a
scene get its name here. The room may use every other one but the command line.

Begin with :mod:`geoseg.flow.run.run`.
"""
