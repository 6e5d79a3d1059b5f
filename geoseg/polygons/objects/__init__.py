"""One polygon per object: split, fitted, cut where neighbors overlap.

Begin with ``objects.find_objects``. ``watershed`` splits regions where buildings touch, ``overlaps`` cuts
what fits take from each other, ``sections`` shares the work among workers. Uses ``trace``, and the fits of
``walls`` as values; how to fit is an option.
"""
