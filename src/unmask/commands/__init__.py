"""One module a command: ``add`` says what it takes, ``run`` does it and returns the exit code.

Importing one imports nothing heavy, so that ``unmask --help`` answers at once.
"""

from unmask.commands import (
    attack,
    calibrate,
    degrade,
    detect,
    evaluate,
    export,
    forge,
    mix,
    prepare,
    serve,
    table,
    train,
)

COMMANDS = (detect, serve, prepare, table, train, evaluate, attack, calibrate, mix, export, forge, degrade)
