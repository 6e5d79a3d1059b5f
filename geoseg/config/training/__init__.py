"""The keys of a training file.

``training_file`` is the file as a whole; ``data`` its classes, scenes, blocks held out and chips;
``train_config`` its section ``train`` (loss, optimizer, schedule, precision, validation); ``presets`` the
named settings that a file starts from. Values only. Begin with ``training_file``.
"""
