"""Looking: two clips side by side, for eyes and in numbers; review movies with the right colour tags.

Promises: frames are read in order and once, so that memory does not grow with the clip; a file has its name only when
it is whole; every number says what it was measured on. Must not: take part in making results, or change an input.
"""
